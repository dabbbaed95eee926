"""Containers of an environment that sleeps."""
