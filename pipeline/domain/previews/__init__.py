"""Previews: environments of their own for branches and pull requests; when one is made, and when it goes."""
