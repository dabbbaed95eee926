"""The keeper's jobs that look at what serves, beside its health, and act on what was seen."""
