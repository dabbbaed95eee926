"""Environments side by side: what differs, whether that is meant, and how much is the same."""
