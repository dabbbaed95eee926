"""The keys that say what machines cost, and how much a month may."""
