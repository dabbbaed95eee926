"""The source: repositories, read with git."""
