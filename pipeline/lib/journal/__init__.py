"""The service's journal: one JSON object a line for each change of state, for programs that collect logs."""
