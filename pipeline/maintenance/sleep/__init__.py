"""The keeper's job that puts what no one uses to sleep, and what wakes it."""
