"""The service's own address on the internet."""
