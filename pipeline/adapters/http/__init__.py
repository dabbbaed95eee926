"""Requests over HTTP: checks of applications, messages to receivers."""
