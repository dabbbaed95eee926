"""What a run leaves behind for good, and the bundles that are made of it: see docs/guides/evidence.md."""
