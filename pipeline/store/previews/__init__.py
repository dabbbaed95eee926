"""Which previews there are."""
