"""The configuration in a repository: what a push to it does, and who may push."""
