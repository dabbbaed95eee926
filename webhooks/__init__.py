"""The HTTP side: receivers, the built-in git server, the API and the pages."""
