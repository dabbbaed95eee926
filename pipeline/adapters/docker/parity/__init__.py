"""What a container really is, compared with what it was made from."""
