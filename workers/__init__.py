"""The workers: RQ wakes them, and the store says what is due."""
