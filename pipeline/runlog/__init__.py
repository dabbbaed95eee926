"""What a run says: events as lines, and the file that keeps them."""
