"""What machines have left, how that develops, and how much more fits."""
