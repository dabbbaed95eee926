"""Runs whose traces are to be sent."""
