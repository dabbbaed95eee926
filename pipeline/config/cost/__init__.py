"""The keys that say what machines cost."""
