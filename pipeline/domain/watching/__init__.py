"""A release after its switch: how long it is watched, and what a fault leads to. Pure rules."""
