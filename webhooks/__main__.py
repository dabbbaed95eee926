"""``python -m webhooks``: the pages, the API, the receivers and the git server in one process."""

from __future__ import annotations

import logging
import os
import sys
from functools import partial

from pipeline.config import settings as settings_module
from pipeline.config.address.public import own_hosts
from pipeline.config.settings import Settings
from pipeline.errors import PushliveError
from pipeline.lib import logs
from pipeline.lib.processes import SUPERVISED, die_with_parent
from pipeline.runtime import bootstrap
from pipeline.runtime.preload import preload
from pipeline.runtime.running_code import running_code
from webhooks.app import create_app
from webhooks.server import Server
from webhooks.site import Site


def make_site(settings: Settings) -> Site:
    """The application with the real service behind it."""
    web = bootstrap.web(settings)
    app = create_app(web.commands, settings, web.ensure_repository)
    for name in app.jinja_env.list_templates():  # as with modules: a later one may not fit this code
        app.jinja_env.get_template(name)
    return Site(app)


def main() -> int:
    """Serves until SIGINT or SIGTERM; 2 for invalid settings."""
    logs.configure(logging.INFO)
    if SUPERVISED in sys.argv:
        die_with_parent()
    running_code()  # before anything that is imported next
    preload("pipeline", "webhooks")
    os.umask(0o077)  # no other user reads what the service writes
    try:
        settings = settings_module.load()
        journal = bootstrap.process_of_service(settings, "web")
        journal.write("process_started", settings.listen)
        by_proxy = partial(bootstrap.socket_of_proxy, settings) if own_hosts(settings) else None
        Server(settings.listen, partial(make_site, settings), by_proxy=by_proxy).run()
        journal.write("process_stopped", settings.listen)
    except PushliveError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the log is easy to miss
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
