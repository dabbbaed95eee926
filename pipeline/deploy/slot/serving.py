"""What a slot's record says that it runs, as engines need it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pipeline.deploy import accessories, hosts
from pipeline.deploy.services import Services
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import Environment, Slot
from pipeline.domain.slots import slot_ref, spec_of


def spec_in(services: Services, environment: Environment, slot: Slot) -> SlotSpec:
    """The spec of the release in that slot. Raises NotFound if its record is lost."""
    record, ref, vault = environment.slots[slot], slot_ref(environment, slot), services.vault
    release = services.store.release(environment.pipeline, record.release)
    # With the secret versions that its containers have: the release's own may be revoked by now.
    spec = spec_of(ref, release, record.run, record.secrets)
    plain = partial(vault.reveal, ref.pipeline, ref.environment, record.secrets)
    reveal = accessories.revealing(plain, services.store, vault, ref, spec.config)
    login = partial(vault.login, ref.pipeline, spec.config.registry)
    taken = hosts.elsewhere(
        services.store, services.configurations, ref.pipeline, ref.environment, spec.config.hosts
    )
    return replace(
        spec, reveal=reveal, passwords=accessories.admitting(plain, spec.config), login=login, elsewhere=taken
    )
