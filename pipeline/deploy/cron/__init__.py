"""Runs by a schedule: started, found again, and recorded by the keeper."""
