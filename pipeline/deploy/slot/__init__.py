"""What a slot needs: room, its start, the inspection of a failed one."""
