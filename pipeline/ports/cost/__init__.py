"""What containers take of machines."""
