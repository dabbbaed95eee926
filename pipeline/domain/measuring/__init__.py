"""What is measured over many runs: counters and durations for `/metrics`, and timings for people. Pure."""
