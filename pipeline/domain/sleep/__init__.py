"""An environment that sleeps while no one uses it."""
