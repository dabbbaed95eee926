"""What people ask about what machines have left."""
