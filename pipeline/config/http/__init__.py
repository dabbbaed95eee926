"""The keys that say what the proxy does with the requests of an application, and with its connections."""
