"""RQ workers: they are woken by the bell and ask the store what is due."""
