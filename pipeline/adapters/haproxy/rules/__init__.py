"""Rules of HAProxy's frontends, a module for each group of them."""
