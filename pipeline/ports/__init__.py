"""The outside world as the domain sees it. One Protocol for each outside thing."""
