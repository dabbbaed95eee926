"""Previews are opened for pushes, and closed with all that belongs to them."""
