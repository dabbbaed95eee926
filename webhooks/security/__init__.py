"""Authentication, and limits on rate, size and time."""
