"""The processes of an installation: how they are put together, started, ended and backed up."""
