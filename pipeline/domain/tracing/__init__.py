"""A run as a trace: its spans, and the ids by which applications continue it."""
