"""Networks: one method for each call."""

from __future__ import annotations

from collections.abc import Iterable

from docker.types import IPAMConfig, IPAMPool

from pipeline.adapters.docker_api.connection import Connection
from pipeline.adapters.docker_api.container_calls import Found
from pipeline.adapters.docker_api.errors import DockerRefused, translate
from pipeline.adapters.docker_api.labels import Body
from pipeline.errors import EngineFailed


class NetworkCalls(Connection):
    """Errors are translated (``errors.translate``). Every method is idempotent."""

    def network(self, name: str) -> Found | None:
        """One network, None if there is none."""
        found: Found | None = self.unless_gone(
            f"Inspecting the network {name}", lambda: self.sdk.inspect_network(name)
        )
        return found

    def networks(self, label: str) -> list[Found]:
        """Networks that carry this label (``name`` or ``name=value``)."""
        with translate("Listing networks"):
            found: list[Found] = self.sdk.networks(filters={"label": label})
        return found

    def create_network(self, body: Body) -> None:
        """Creates a network unless one of that name exists. Raises EngineFailed if its addresses are in use."""
        pools = [
            IPAMPool(subnet=p["Subnet"], iprange=p["IPRange"], gateway=p["Gateway"])
            for p in body["IPAM"]["Config"]
        ]
        ipam = IPAMConfig(driver="default", pool_configs=pools)
        try:
            with translate(f"Creating the network {body['Name']}"):
                self.sdk.create_network(
                    body["Name"], driver="bridge", ipam=ipam, check_duplicate=True, labels=body["Labels"]
                )
        except DockerRefused as error:
            if error.status == 409:
                return
            if error.status in (403, 500):  # an overlapping pool, an address in use
                raise EngineFailed(
                    f"The network {body['Name']} cannot have {pools[0]['Subnet']}: {error.said}.",
                    advice="Set PUSHLIVE_SUBNETS to addresses that nothing else uses (see `ip route`).",
                ) from error
            raise

    def remove_network(self, name: str) -> None:
        """Removes a network."""
        self.unless_gone(f"Removing the network {name}", lambda: self.sdk.remove_network(name))

    def connect(self, container: str, network: Found, address: str, names: Iterable[str] = ()) -> None:
        """Connects a container to a network, with that address and these host names there."""
        try:
            with translate(f"Connecting {container} to {network['Name']}"):
                self.sdk.connect_container_to_network(
                    container, network["Id"], ipv4_address=address, aliases=list(names)
                )
        except DockerRefused as error:
            if not error.already_connected:
                raise

    def join(self, container: str, network: Found) -> None:
        """Connects a container to a network of others, which gives it an address and no name but its own."""
        try:
            with translate(f"Connecting {container[:80]} to {network['Name']}"):
                self.sdk.connect_container_to_network(container, network["Id"])
        except DockerRefused as error:
            if not error.already_connected:
                raise

    def disconnect(self, container: str, network: Found) -> None:
        """Disconnects a container from a network, so that the network can be removed."""
        try:
            with translate(f"Disconnecting {container} from {network['Name']}"):
                self.sdk.disconnect_container_from_network(container, network["Id"], force=True)
        except DockerRefused as error:
            if error.status not in (404, 500):  # 500: it is not connected
                raise

    def disconnect_by_name(self, container: str, network: str) -> None:
        """The same for a network that may be gone."""
        try:
            with translate(f"Disconnecting {container[:80]} from {network}"):
                self.sdk.disconnect_container_from_network(container, network, force=True)
        except DockerRefused as error:
            if error.status not in (404, 500):  # 500: it is not connected
                raise
