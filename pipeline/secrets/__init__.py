"""Secrets of pipelines: encrypted at rest, given to containers, redacted from everything else."""
