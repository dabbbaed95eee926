"""HTTP and TCP: requests to applications, messages to receivers."""
