"""The processes of an installation: how they are put together, started, stopped and backed up."""
