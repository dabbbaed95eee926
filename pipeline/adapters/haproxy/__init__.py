"""The proxy in front of the environments on a Docker Engine."""
