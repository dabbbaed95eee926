"""Which lines of the journal a change of a record makes."""
