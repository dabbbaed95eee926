"""Notifications: what receivers are told, how it is delivered and signed."""
