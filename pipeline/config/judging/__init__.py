"""What releases are compared by: the keys of pipelines.yaml."""
