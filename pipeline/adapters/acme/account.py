"""The account at the authority: its key in a file, and nothing else that could differ from what the authority knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.lib.key_file import KeyFile
from pipeline.lib.secret import NO_SECRET, Secret
from pipeline.ports.certificates.authority import BadAccount

if TYPE_CHECKING:
    from acme.client import ClientV2
    from josepy.jwk import JWK

    from pipeline.adapters.acme.network import Network

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True)
class Account:
    """``folder``: where its key is kept, made with the first order; ``directory``: the authority's URL; ``ca``: a file
    with the certificates that sign the authority's own address, None for those that are trusted otherwise; ``eab_kid``
    and ``eab_key``: what an authority with customers of its own has given out (RFC 8555, 7.3.4), the key in base64url.
    """

    folder: Path
    directory: str = LETS_ENCRYPT
    email: str = ""
    ca: Path | None = None
    eab_kid: str = ""
    eab_key: Secret = field(default=NO_SECRET)

    @property
    def key_file(self) -> KeyFile:
        leaked = "remove it: the next order makes another account"
        return KeyFile(self.folder / "acme.key", "key of the account for certificates", leaked)

    def secret(self) -> bytes:
        """Of which its key is made. Raises EngineFailed."""
        return self.key_file.read() or self.key_file.make()


def registered(account: Account, network: Network) -> ClientV2:
    """A client of the account, which is created if the authority does not know its key: so nothing has to be kept of
    it, and one that the authority has forgotten is made again. Agrees to the authority's terms. Raises what the
    library does."""
    from acme import client, errors, messages

    found = client.ClientV2(client.ClientV2.get_directory(account.directory, network), network)
    wanted = messages.NewRegistration.from_data(
        email=account.email or None,
        terms_of_service_agreed=True,
        external_account_binding=_binding(account, found, network.public),
    )
    try:
        found.new_account(wanted)
    except errors.ConflictError as there:
        network.account = messages.RegistrationResource(body=messages.Registration(), uri=there.location)
    return found


def _binding(account: Account, client: ClientV2, key: JWK) -> dict[str, Any] | None:
    from acme import messages

    if not account.eab_kid:
        return None
    try:
        return messages.ExternalAccountBinding.from_data(
            key, account.eab_kid, account.eab_key.reveal(), client.directory
        )
    except ValueError as error:
        raise BadAccount(
            "PUSHLIVE_ACME_EAB_KEY is not a key in base64url.",
            advice="Correct it: the authority has given it to you.",
        ) from error
