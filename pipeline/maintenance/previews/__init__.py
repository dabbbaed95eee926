"""The keeper's job for previews."""
