"""What people and programs may ask of Pushlive."""
