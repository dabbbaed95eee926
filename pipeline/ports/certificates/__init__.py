"""Where certificates come from, and how it is found out that a name leads here."""
