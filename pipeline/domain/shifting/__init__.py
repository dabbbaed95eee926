"""A release takes the traffic over step by step: where it is in that, what was counted, and when it goes back. Pure."""
