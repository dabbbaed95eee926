"""What people ask and do about previews."""
