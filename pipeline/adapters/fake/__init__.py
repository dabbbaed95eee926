"""Strict fakes of the ports, for tests without Docker."""
