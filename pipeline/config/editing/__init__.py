"""Changes of pipelines.yaml by the service: values are put into its text, and nothing else of it changes."""
