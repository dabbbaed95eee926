"""Where the configuration is: a file of this machine, or a file in a repository."""
