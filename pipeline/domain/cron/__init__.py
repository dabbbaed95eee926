"""Cron: which run of a process is due, and what is kept of each."""
