"""What people ask about cost."""
