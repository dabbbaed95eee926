"""Notifications: what they say, and how they are delivered and signed."""
