"""The Source: repositories, read by git."""
