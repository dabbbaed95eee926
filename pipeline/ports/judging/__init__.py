"""Where the figures come from that releases are compared by."""
