"""The Engine on Kubernetes: Deployments in slots, a Service as the switch."""
