"""What knows nothing of deployments: units, text, processes."""
