"""The outside world, one module for each part; an SDK's exceptions never leave its module."""
