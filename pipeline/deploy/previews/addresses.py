"""Where a preview is reached, before anything of it runs as well."""

from __future__ import annotations

from pipeline.config.address.entries import plain
from pipeline.config.https.listeners import port_of
from pipeline.config.models import Config
from pipeline.config.settings import Settings
from pipeline.deploy.engine_addresses import NO_WEB


def address(settings: Settings, config: Config, name: str) -> str:
    """Its URL, or words instead of one; "" for one that is not there."""
    own = config.pipelines.get(name)
    if own is None:
        return ""
    rendered = own.render(name)
    if not rendered.service.web:
        return NO_WEB
    if hosts := plain(rendered.hosts):
        return f"http://{hosts[0]}"
    if rendered.engine.kind.local:
        return f"http://{name}.localhost:{port_of(settings.proxy_http)}"
    return f"inside {rendered.engine.key}"
