"""What the keys of a service are in a pod, and what runs beside its pods."""
