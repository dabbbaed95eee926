"""What may be the name and the value of a secret."""

from __future__ import annotations

import re

from pipeline.errors import ConfigError
from pipeline.lib.secret import Secret
from pipeline.lib.units import show_size
from pipeline.secrets.redaction import SHORTEST

MAX_SIZE = 64 << 10  # bytes of one value; the kernel allows at most 128 KiB for one variable
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def check_name(name: str) -> None:
    """Raises ConfigError. The message does not repeat an invalid name: it may be a value."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            "not a valid secret name.",
            advice="A name has letters, digits and `_`, does not begin with a digit, and is at most 128 characters "
            "long. The value is read from standard input.",
        )
    if name.startswith("PUSHLIVE_"):
        raise ConfigError(
            f"{name}: names that begin with PUSHLIVE_ are reserved for Pushlive.",
            advice="Choose another name.",
        )


def check_value(name: str, value: Secret) -> None:
    """Raises ConfigError. The message contains nothing of the value."""
    try:
        size = len(value.reveal().encode())
    except UnicodeEncodeError:
        raise ConfigError(f"the value of {name} is not text.", advice="Pass it as UTF-8.") from None
    if not value.reveal().strip():
        raise ConfigError(f"the value of {name} is empty.", advice="Pass it on standard input.")
    if size > MAX_SIZE:
        raise ConfigError(
            f"the value of {name} is larger than {show_size(MAX_SIZE)}.",
            advice="Let the application fetch it with a short secret, or put it into the image encrypted.",
        )
    if "\0" in value.reveal():
        raise ConfigError(
            f"the value of {name} contains a NUL byte, which an environment variable cannot.",
            advice="Encode it in base64.",
        )
    if len(value.reveal()) < SHORTEST:
        raise ConfigError(
            f"the value of {name} has fewer than {SHORTEST} characters and could not be masked in any output.",
            advice="Choose a longer value, or write it under `env:` if it is not a secret.",
        )


_OURS = "pushlive revert promote deploy release serving blue green build start smoke switch verify fetch"


def check_word(name: str, value: Secret, names: tuple[str, ...]) -> None:
    """Raises ConfigError for a word of Pushlive's own messages: masked messages could not be read, and would give the
    value away."""
    if any(value.reveal().strip().lower() in word for word in (*_OURS.split(), *names)):
        raise ConfigError(
            f"the value of {name} occurs in Pushlive's own messages and would be masked there.",
            advice="Choose another value, or write it under `env:` if it is not a secret.",
        )
