"""Creating and starting an application's container, with errors that say whose fault it is."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.adapters.docker import refusals
from pipeline.adapters.docker.networks import join_all, with_own_names
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.docker_api.labels import Body
from pipeline.config.workload.accessory import Use
from pipeline.errors import EngineFailed


def create(api: DockerApi, name: str, body: Body, uses: Mapping[str, Use]) -> None:
    """``uses``: of the release. Raises EngineFailed if the image is gone or the name is in use, AppFailed if the
    configuration and the image do not fit together."""
    try:
        api.create(name, with_own_names(api, body, uses))
    except DockerRefused as error:
        if error.status == 404:
            raise EngineFailed(
                f"{name}: its image {body['Image'][:19]} is not on this machine any more.",
                advice=f"Deploy its commit again: `{_deploy(body)}`.",
            ) from error
        if failed := refusals.as_application(name, error):
            raise failed from error
        raise


def _deploy(body: Body) -> str:
    labelled = body["Labels"]
    return f"pushlive deploy {labelled[labels.PIPELINE]} --commit {labelled[labels.COMMIT][:7]}"


def start(api: DockerApi, name: str) -> None:
    """Raises AppFailed if what the image and the configuration say cannot be started, ConfigError if a network that it
    joins does not exist."""
    # The Engine makes a container in one network alone, and it has to be in the others before its command runs.
    if found := api.container(name):
        join_all(api, found)
    try:
        api.start(name)
    except DockerRefused as error:
        if failed := refusals.as_application(name, error):
            raise failed from error
        raise
