"""Copies of backups in an object store that speaks Amazon's S3, through the library ``minio``."""
