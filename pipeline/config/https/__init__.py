"""How people reach host names: where the proxy listens, and the keys that lead them to HTTPS."""
