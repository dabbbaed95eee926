"""``pushlive doctor``: what it examines. The keeper uses a part of it."""
