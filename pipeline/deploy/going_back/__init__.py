"""What `pushlive revert` would do now, as far as the records tell."""
