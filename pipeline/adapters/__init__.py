"""The outside world, one package for each part. The exceptions of an SDK never leave its package."""
