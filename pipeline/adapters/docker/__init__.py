"""The Engine on Docker: containers in slots, traffic through the proxy."""
