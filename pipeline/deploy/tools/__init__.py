"""What people do with the containers that serve: commands in them and beside them."""
