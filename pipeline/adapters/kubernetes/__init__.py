"""The engine on Kubernetes: Deployments as slots, a Service as the switch."""
