"""The Docker Engine's API: the SDK's client, calls, connections and registries."""
