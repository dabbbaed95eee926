"""Data on a Docker Engine that outlives releases: named volumes."""
