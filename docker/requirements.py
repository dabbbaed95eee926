"""Prints what the service is built with and what it needs, from pyproject.toml: one requirement a line."""

import sys
import tomllib

with open("pyproject.toml", "rb") as opened:
    project = tomllib.load(opened)
extras = project["project"]["optional-dependencies"]
needed = (
    *project["build-system"]["requires"],
    *project["project"]["dependencies"],
    *extras["s3"],
    *extras["otel"],
)
for requirement in needed:
    sys.stdout.write(requirement + "\n")
