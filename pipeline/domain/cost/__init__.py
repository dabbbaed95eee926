"""What pipelines cost: what their containers take of machines that have a price."""
