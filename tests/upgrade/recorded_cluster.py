"""What was recorded on the cluster, as specifications that today's code takes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from pipeline.adapters.kubernetes.manifests import Manifest, Manifests
from pipeline.config.engines import Where
from pipeline.domain import slots
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import SLOTS, Environment
from pipeline.domain.release import Release
from pipeline.lib import codec
from pipeline.lib.secret import Secret
from tests.upgrade.fixtures import Fixture


class RecordedCluster:
    """Of one fixture."""

    def __init__(self, fixture: Fixture) -> None:
        self.instance = fixture.settings.instance
        self._fixture = fixture

    @cached_property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self._fixture.read("kubernetes.json")
        return found

    @property
    def namespace(self) -> str:
        return str(self.data["namespace"])

    @property
    def key(self) -> str:
        return Where(kubernetes="", namespace=self.namespace).key

    @property
    def manifest_of(self) -> Manifests:
        return Manifests(self.instance, self.namespace)

    def requests(self) -> Iterator[dict[str, Any]]:
        """What made objects, in order; commands' pods are among them."""
        for request in self.data["requests"]:
            if "kind" in request["body"]:
                yield request

    def environment(self, name: str) -> Environment:
        return codec.load(Environment, self.data["environments"][name])

    @cached_property
    def indices(self) -> dict[str, int]:
        """Of the environments, as their objects say."""
        labels = [one["body"]["metadata"]["labels"] for one in self.requests()]
        return {one["pushlive/environment"]: int(one["pushlive/index"]) for one in labels}

    @cached_property
    def password(self) -> Secret:
        """The value that was in the secrets."""
        body = next(one["body"] for one in self.requests() if one["body"]["kind"] == "Secret")
        return Secret(base64.b64decode(body["data"]["PASSWORD"]).decode())

    def releases(self) -> dict[int, Release]:
        """By the run that each was made by."""
        runs = self.data["runs"].values()
        return {one["run"]["number"]: codec.load(Release, json.dumps(one["release"])) for one in runs}

    def spec(self, environment: str, slot: str, run: int) -> SlotSpec:
        """What the engine was asked for by that run."""
        release = self.releases()[run]
        ref = SlotRef(release.pipeline, environment, self.indices[environment], slot, self.key)
        return replace(slots.spec_of(ref, release, run), reveal=lambda: {"PASSWORD": self.password})

    def specs(self) -> Iterator[SlotSpec]:
        """What is in the slots at the end: the first run's release in blue, the second's in green."""
        for environment in self.indices:
            for run, slot in enumerate(SLOTS, 1):
                yield self.spec(environment, slot, run)

    def manifests(self) -> Iterator[Manifest]:
        """All that today's code makes for these, but commands."""
        make = self.manifest_of
        for spec in self.specs():
            yield make.deployment(spec)
            yield make.preview(spec)
            yield make.disruption(spec)
            yield make.config_map(spec)
            yield make.secret(spec, spec.reveal())
            yield make.ingress(spec.ref, spec.config.hosts, spec.config.engine.ingress)
            for slot in ("none", *SLOTS):
                yield make.public(spec.ref, slot)
