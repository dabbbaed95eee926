"""What HAProxy is told to measure of the requests that it passes on."""
