"""The keeper's job for the journal's files."""
