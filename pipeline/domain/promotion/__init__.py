"""When, and with whose approval, a release goes on to the next environment: the rules."""
