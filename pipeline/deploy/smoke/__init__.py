"""Smoke checks: one file for each kind."""
