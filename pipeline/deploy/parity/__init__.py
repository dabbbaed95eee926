"""Looks at environments for a comparison, and keeps a release out of one that would be unlike the one before."""
