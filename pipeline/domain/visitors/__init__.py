"""What visitors get in place of an application's answers."""
