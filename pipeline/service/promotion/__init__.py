"""What people ask and do about when a release goes on: freezes, approvals."""
