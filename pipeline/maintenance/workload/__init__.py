"""The keeper's jobs for what runs beside the slots."""
