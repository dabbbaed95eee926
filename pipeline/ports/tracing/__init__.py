"""Where the spans of runs go."""
