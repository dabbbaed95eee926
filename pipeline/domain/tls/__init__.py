"""Certificates that the service gets by itself: which names get one, and when it is renewed."""
