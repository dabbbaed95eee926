"""What is asked about an application beside its releases."""
