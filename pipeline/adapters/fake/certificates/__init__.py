"""An authority that issues certificates, in memory."""
