"""A run's events as lines of text, and the log file that keeps them."""
