"""The key that says when an environment is put to sleep."""
