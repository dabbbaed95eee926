"""What looks after the installation between runs."""
