"""What people ask and do about environments that sleep."""
