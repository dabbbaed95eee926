"""Environments that sleep, in memory."""
