"""What knows nothing about deployments: text, units, retries, streams, processes."""
