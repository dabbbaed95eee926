"""The rules of a deployment as pure functions over frozen records: no clock, no store, no input or output."""
