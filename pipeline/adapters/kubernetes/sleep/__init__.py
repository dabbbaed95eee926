"""Pods of an environment that sleeps."""
