"""What people ask and do about what visitors get in place of an application's answers."""
