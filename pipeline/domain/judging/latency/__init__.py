"""Whether a release answers more slowly than the one before it: what is kept of the times, and the statistical rule."""
