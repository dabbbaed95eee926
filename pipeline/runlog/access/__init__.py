"""The access log: requests to applications, as the proxy saw them, a line of JSON each."""
