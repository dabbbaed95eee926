"""Whether a release answers worse than the one before it: what is counted, and the statistical rule. Pure."""
