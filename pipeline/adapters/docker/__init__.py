"""An engine on Docker: containers in slots, traffic through the proxy. One file for each port."""
