"""What a slot on a cluster really is, compared with what it was made from."""
