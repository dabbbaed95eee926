"""What people do with containers: commands in them, their output, and what they use."""
