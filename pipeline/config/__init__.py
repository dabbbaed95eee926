"""``pipelines.yaml`` and the settings of the service: their models, how they are read, checked and compared."""
