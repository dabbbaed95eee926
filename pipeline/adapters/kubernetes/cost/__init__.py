"""What pods take of nodes."""
