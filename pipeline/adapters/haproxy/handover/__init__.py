"""Replaces a running proxy by one with another configuration, on this machine and on a remote Docker Engine."""
