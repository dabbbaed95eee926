"""The image that a slot runs: made on this machine's Engine, or taken from a registry by another one."""

from __future__ import annotations

from pipeline.adapters.docker.containers import image_of, refuse_root
from pipeline.adapters.docker_api import registry
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.client import translate
from pipeline.config.engines import kind_of
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import EngineFailed
from pipeline.ports.clock import Clock, Watch

KEPT = 5  # images of one repository on another machine's Engine


def have(api: DockerApi, clock: Clock, spec: SlotSpec, watch: Watch) -> None:
    """The image is on the Engine, pulled where it lies in a registry, and may run there. Twice. An image of this
    machine that is gone is complained of where a container is made."""
    if not kind_of(spec.ref.engine).local:
        _pulled(api, clock, spec, watch)
    if spec.config.service.security == "strict" and (image := api.image(image_of(spec))):
        refuse_root(spec, str(image["Config"].get("User") or ""))


def _pulled(api: DockerApi, clock: Clock, spec: SlotSpec, watch: Watch) -> None:
    ref = spec.ref
    if not spec.remote:
        raise EngineFailed(
            f"r{spec.release} was made before {ref.pipeline} had a `registry:`, and {ref.environment} runs on "
            "another machine, which has no other way to its image.",
            advice=f"Deploy the commit again: `pushlive deploy {ref.pipeline} --commit {spec.commit[:7]}`.",
        )
    if api.image(spec.remote):
        return
    registry.pull(api.sdk, clock, spec.remote, spec.login(), _unheard, watch)
    if not api.image(spec.remote):
        raise EngineFailed(f"{spec.remote} was pulled and is not there.", advice="`pushlive retry`.")
    _tidy(api, spec.remote)


def _tidy(api: DockerApi, reference: str) -> None:
    """Of that repository KEPT stay, this one and the newest, and what a container uses; all others can be pulled again.
    When an image was made is told in whole seconds, and a revert may take an old one: this one is named first."""
    repository = reference.partition("@")[0]
    with translate(f"listing the images of {repository}"):
        found = api.sdk.images(name=repository)
    found.sort(
        key=lambda image: (reference in (image["RepoDigests"] or ()), int(image["Created"])), reverse=True
    )
    for image in found[KEPT:]:
        for name in image["RepoDigests"] or ():
            if name.startswith(f"{repository}@"):
                api.remove_image(name)


def _unheard(_event: Event) -> None:
    """Starting a slot tells nobody how far it is."""
