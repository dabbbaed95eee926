"""What a run adds to the cost of a month, beside the caps."""
