"""Pods: their state, what events say about them, and why one does not start. Pure."""
