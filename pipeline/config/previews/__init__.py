"""The keys that say which branches get a preview, and what a preview is made of."""
