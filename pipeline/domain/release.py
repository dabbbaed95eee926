"""A release: built once, and ready to be put live again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property

from pipeline.config.models import Rendered

FORM = 1
"""What the containers of a release are given by default: 0, as in earlier versions, nothing; 1, the variable PORT, and
on Docker the host name host.docker.internal, and its release command goes through the image's ENTRYPOINT. A release
keeps its form, so that an upgrade changes no container."""


@dataclass(frozen=True)
class Release:
    """An immutable snapshot that can be put live again."""

    pipeline: str
    number: int
    commit: str
    image: str  # the image's digest, "sha256:…": the same in every environment
    tag: str  # "hello:r17"
    run: int
    created: float
    environments: dict[str, Rendered]
    message: str = ""
    secrets: dict[str, dict[str, int]] = field(
        default_factory=dict
    )  # version numbers by environment and name
    remote: str = ""  # the image in a registry: "HOST/NAME@sha256:…", "" if it was not pushed to one
    form: int = 0  # of its containers, see FORM

    @property
    def name(self) -> str:
        return f"r{self.number}"

    def through_entrypoint(self, environment: str) -> bool:
        """Whether its release command there is given to the image's ENTRYPOINT."""
        return self.form > 0 and self.environments[environment].service.release.entrypoint

    @cached_property
    def _plain(self) -> dict[str, str]:
        """Each environment's configuration as its hash. It is asked for many times in a rollout, and never changes."""
        return {name: rendered.fingerprint() for name, rendered in self.environments.items()}

    def fingerprint(self, environment: str) -> str:
        """Equal for releases that run alike there: the same configuration and the same versions of secrets."""
        plain, versions = self._plain[environment], self.secrets.get(environment)
        if not versions:
            return plain
        text = json.dumps([plain, versions], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
