"""What the keys of a service are in a pod."""
