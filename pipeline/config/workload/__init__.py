"""What runs beside and in a service's containers: models of the keys that say it, one group in each module."""
