"""The Kubernetes API: the client, requests, watches and forwarded ports. Every private call into the SDK is here."""
