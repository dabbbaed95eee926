"""Which values the settings may have, beyond the type of each: addresses, ports and ranges that fit together."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.config.address import public
from pipeline.config.https.listeners import Listener, listeners
from pipeline.lib.git_settings import HARMLESS, MORE_FINDINGS

if TYPE_CHECKING:
    from pipeline.config.settings import Settings


def problems_of(settings: Settings) -> Iterator[str]:
    """One line for each problem, with the variable that has it and what to write instead."""
    yield from _value_problems(settings)
    yield from _port_problems(settings)
    yield from _subnet_problems(settings)
    yield from _s3_problems(settings)
    yield from public.problems(settings)
    if settings.journal not in ("file", "stdout", "off"):
        yield f"PUSHLIVE_JOURNAL={settings.journal[:40]!r}: write file, stdout or off"
    if settings.access_log not in ("off", "paths", "urls"):
        yield f"PUSHLIVE_ACCESS_LOG={settings.access_log[:40]!r}: write off, paths or urls"


def _s3_problems(settings: Settings) -> Iterator[str]:
    if settings.s3_endpoint and not re.fullmatch(
        r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?", settings.s3_endpoint
    ):
        yield "PUSHLIVE_S3_ENDPOINT: write http(s)://HOST[:PORT] without a path, e.g. https://s3.example.com"
    if settings.s3_addressing not in ("", "path", "virtual"):
        yield f"PUSHLIVE_S3_ADDRESSING={settings.s3_addressing!r}: write path or virtual"
    if bool(settings.s3_access_key) != bool(settings.s3_secret_key):
        yield "PUSHLIVE_S3_ACCESS_KEY and PUSHLIVE_S3_SECRET_KEY: set both, or neither"


def _port_problems(settings: Settings) -> Iterator[str]:
    """Invalid addresses, and ports that are used twice."""
    taken: list[tuple[str, Listener]] = []
    for name in ("listen", "proxy_http", "proxy_https"):
        value = getattr(settings, name)
        try:
            found = listeners(value)
            if not found and name != "proxy_https":
                raise ValueError("write ADDRESS:PORT, e.g. 127.0.0.1:7070")
            if len(found) > 1 and name == "listen":
                raise ValueError("write one ADDRESS:PORT, e.g. 127.0.0.1:7070")
        except ValueError as error:
            yield f"PUSHLIVE_{name.upper()}={value[:80]!r}: {error}"
            continue
        taken += ((f"PUSHLIVE_{name.upper()}", one) for one in found)
    if 1 <= settings.preview_port <= 65535:
        taken.append(("PUSHLIVE_PREVIEW_PORT", Listener("127.0.0.1", settings.preview_port)))
    else:
        yield f"PUSHLIVE_PREVIEW_PORT={settings.preview_port}: must be between 1 and 65535"
    for number, (name, one) in enumerate(taken):
        for other, before in taken[:number]:
            if name != other and _clash(one, before):
                yield f"{name} and {other} use the same port {one.port}: change one of them"
    yield from _range_problems(settings, [(name, one.port) for name, one in taken])


def _clash(one: Listener, other: Listener) -> bool:
    """True if not both can listen, or if one of them takes connections to any address."""
    return one.port == other.port and (one.host == other.host or one.everywhere or other.everywhere)


def _range_problems(settings: Settings, taken: list[tuple[str, int]]) -> Iterator[str]:
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", settings.ports)
    if not match:
        yield f"PUSHLIVE_PORTS={settings.ports!r}: write FIRST-LAST, e.g. 20000-20119"
        return
    ports = settings.port_range
    if not ports or ports[0] < 1024 or ports[-1] > 65535 or len(ports) > 1000:
        yield f"PUSHLIVE_PORTS={settings.ports!r}: use at most 1000 ports from 1024 to 65535, the lower one first"
        return
    for name, port in taken:
        if port in ports:
            yield f"{name} uses port {port}, which is in PUSHLIVE_PORTS={settings.ports}: change one of them"


def _subnet_problems(settings: Settings) -> Iterator[str]:
    try:
        subnet = ipaddress.IPv4Network(settings.subnets)
    except ValueError as error:
        yield f"PUSHLIVE_SUBNETS={settings.subnets!r}: {error}; write a private range, e.g. 10.213.0.0/16"
        return
    if subnet.prefixlen > 26:
        yield f"PUSHLIVE_SUBNETS={settings.subnets}: one environment takes a /26; write for example 10.213.0.0/16"
    if subnet.is_global or subnet.is_loopback or subnet.is_multicast or subnet.is_link_local:
        yield f"PUSHLIVE_SUBNETS={settings.subnets}: must be a private range, for example 10.213.0.0/16"


def _value_problems(settings: Settings) -> Iterator[str]:
    # On a cluster it is the value of a label, which ends with a letter or a digit.
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,19}[a-z0-9])?", settings.instance):
        yield (
            f"PUSHLIVE_INSTANCE={settings.instance!r}: use at most 21 lower-case letters, digits and hyphens, "
            "beginning with a letter and not ending with a hyphen"
        )
    for name, low, high in (("workers", 1, 64), ("keep_releases", 1, 1000)):
        if not low <= getattr(settings, name) <= high:
            yield f"PUSHLIVE_{name.upper()}={getattr(settings, name)}: must be between {low} and {high}"
    if not 0 <= settings.build_cpu <= 1024:
        yield f"PUSHLIVE_BUILD_CPU={settings.build_cpu}: must be between 0 (all but half a core) and 1024 cores"
    for name in ("trusted_proxies", "proxy_trusted"):
        for proxy in getattr(settings, name):
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                yield f"PUSHLIVE_{name.upper()}={proxy[:60]!r}: {error}; write e.g. 127.0.0.1 or 10.0.0.0/8"
    yield from _finding_problems(settings.git_fsck_ignore)
    for name in ("log_limit", "body_limit", "push_limit"):
        if getattr(settings, name) == 0:
            yield f"PUSHLIVE_{name.upper()}=0: would refuse everything; write a size, for example 16MiB"
    for name, schemes in (("redis_url", ("redis", "rediss", "unix")), ("public_url", ("http", "https"))):
        value = getattr(settings, name)
        if value and not re.fullmatch(rf"({'|'.join(schemes)})://\S+", value):
            yield f"PUSHLIVE_{name.upper()}: must begin with {' or '.join(s + '://' for s in schemes)}"


def _finding_problems(findings: tuple[str, ...]) -> Iterator[str]:
    known = (*HARMLESS, *MORE_FINDINGS)
    for name in findings:
        if name not in known:
            near = difflib.get_close_matches(name[:60], known, 1)
            advice = f"did you mean {near[0]}?" if near else "`git help fsck` lists them"
            yield f"PUSHLIVE_GIT_FSCK_IGNORE={name[:60]!r}: no finding of git fsck that can be ignored; {advice}"
