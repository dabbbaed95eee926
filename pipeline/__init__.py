"""Pushlive's domain: what a push is, and its way to live. No Flask and no RQ in here."""
