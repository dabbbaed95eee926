"""What serves is put to sleep, and woken by a request."""
