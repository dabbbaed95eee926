"""The outside world as Protocols, one for each outside thing."""
