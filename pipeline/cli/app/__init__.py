"""Commands for the applications themselves."""
