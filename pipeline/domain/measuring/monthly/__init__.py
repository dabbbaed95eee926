"""A month of a pipeline as figures and sentences, for `pushlive report`. Pure."""
