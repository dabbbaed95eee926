"""The Docker Engine's API, and everything that uses the Docker SDK: calls, builds, registries, tunnels."""
