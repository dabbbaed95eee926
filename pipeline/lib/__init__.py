"""What knows nothing of deployments: units, text, secrets' type, processes."""
