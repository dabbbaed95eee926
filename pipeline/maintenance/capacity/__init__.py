"""The keeper's job that looks at what machines have left."""
