"""Data that outlives releases: what people do with volumes."""
