"""The image that a slot runs: built on the local Engine, or pulled from a registry by a remote one."""

from __future__ import annotations

from pipeline.adapters.docker.containers import image_of, refuse_root
from pipeline.adapters.docker.networks import refuse_unfit
from pipeline.adapters.docker.options import refuse_binds, refuse_devices
from pipeline.adapters.docker_api import registry
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.config.engines import kind_of
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import EngineFailed
from pipeline.ports.clock import Clock, Watch

KEPT = 5  # images of one repository on a remote Engine


def provide(api: DockerApi, settings: Settings, clock: Clock, spec: SlotSpec, watch: Watch) -> None:
    """Before each container of that spec: refuses devices, folders and networks that it cannot be given, pulls the
    image to a remote Engine, and refuses one that may not run. Idempotent. Whether the local Engine still has the image
    shows when a container is created."""
    refuse_devices(settings, spec)
    refuse_binds(settings, spec)
    refuse_unfit(api, spec)
    if not kind_of(spec.ref.engine).local:
        _pull(api, clock, spec, watch)
    if spec.config.service.security == "strict" and (image := api.image(image_of(spec))):
        refuse_root(spec, str(image["Config"].get("User") or ""))


def _pull(api: DockerApi, clock: Clock, spec: SlotSpec, watch: Watch) -> None:
    ref = spec.ref
    if not spec.remote:
        raise EngineFailed(
            f"r{spec.release} was built before {ref.pipeline} had a `registry:`, and {ref.environment} runs on "
            "another machine, which cannot get its image in any other way.",
            advice=f"Deploy the commit again: `pushlive deploy {ref.pipeline} --commit {spec.commit[:7]}`.",
        )
    if api.image(spec.remote):
        return
    registry.pull(api, clock, spec.remote, spec.login(), _ignore, watch)
    if not api.image(spec.remote):
        raise EngineFailed(
            f"{spec.remote} was pulled but is not on the Engine.",
            advice="Check the Docker daemon's log.",
            again=True,
        )
    _remove_old(api, spec.remote)


def _remove_old(api: DockerApi, reference: str) -> None:
    """Keeps this image of its repository, the newest ones (KEPT in all) and those that containers use: any other can be
    pulled again. This one comes first by name, since a revert may use an old one and times are in whole seconds."""
    repository = reference.partition("@")[0]
    found = api.images(repository=repository)
    found.sort(
        key=lambda image: (reference in (image["RepoDigests"] or ()), int(image["Created"])), reverse=True
    )
    for image in found[KEPT:]:
        for name in image["RepoDigests"] or ():
            if name.startswith(f"{repository}@"):
                api.remove_image(name)


def _ignore(_event: Event) -> None:
    """Progress is not shown while a slot starts."""
