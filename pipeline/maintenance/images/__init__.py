"""The keeper's jobs for images and what builds leave."""
