"""The story of a run: build, then one environment after another."""
