"""A configuration in a repository: judged, and put into force."""
