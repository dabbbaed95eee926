"""The keeper's job that measures what containers take of machines."""
