"""``pushlive up``, ``down``, ``web``, ``worker``: the service's processes on this machine."""

from __future__ import annotations

from pipeline.cli.command import argument, command
from pipeline.cli.context import DONE, FAILED, Context


@command(
    "start the service: web, workers and store",
    argument("--config", default="", metavar="FILE", help="or git:NAME/PATH; default: pipelines.yaml"),
)
def up(context: Context) -> int:
    from pipeline.runtime.service import Service, load_settings

    Service(load_settings(context.args.config), context.terminal.data).run()
    return DONE


@command(
    "stop the service; applications and proxy keep serving",
    argument("--all", action="store_true", help="also remove the applications and their proxy"),
)
def down(context: Context) -> int:
    from pipeline.runtime import bootstrap, lock
    from pipeline.runtime.service import STOP, load_settings

    settings, terminal = load_settings(), context.terminal
    stopped = lock.stop_holder(settings.data, STOP)
    terminal.data("The service has stopped." if stopped else "No service is running here.")
    left = False
    if context.args.all:
        for one in bootstrap.remove_everything(settings):
            terminal.data(one.text)
            left = left or one.left
        terminal.data(f"Kept the images, and data and repositories in {settings.data}.")
    if left:
        terminal.complain("Not everything was removed. `pushlive down --all` goes on where it had to stop.")
    return FAILED if left else DONE


@command("run only the web process, as its container does")
def web(_: Context) -> int:
    from pipeline.runtime.service import become_web, load_settings

    become_web(load_settings())


@command("run only the workers, as their container does")
def worker(_: Context) -> int:
    from pipeline.runtime.service import become_workers, load_settings

    load_settings()
    become_workers()
