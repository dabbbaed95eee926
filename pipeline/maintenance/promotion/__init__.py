"""The keeper's jobs for runs that wait before an environment."""
