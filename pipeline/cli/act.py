"""Commands that change something: each is one call of the API, and most then follow the run it started."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pipeline.cli.context import (
    DONE,
    Context,
    UsageError,
    pipeline_name,
    reference,
    release_number,
    split_reference,
)
from pipeline.cli.follow import End, known, messages, watch
from pipeline.cli.terminal import cleaned, span
from pipeline.errors import ConfigError, RequestError
from pipeline.lib.text import one_line


def deploy(context: Context) -> int:
    args = context.args
    body: dict[str, Any] = {"commit": args.commit} if args.commit else {}
    if args.release:
        body["release"] = release_number(args.release)
    if args.config:
        body["config"] = read_config(args.config)
    if args.rebuild:
        body["rebuild"] = True
    if args.commit and args.release:
        raise UsageError(
            "--commit and --release exclude each other.", advice="A release has its commit already."
        )
    if args.rebuild and args.release:
        raise UsageError(
            "--rebuild and --release exclude each other.", advice="A release is never built again."
        )
    name = context.pipeline(pipeline_name(args.pipeline))
    return _finish(context, context.ask("POST", f"/api/pipelines/{name}/deploy", body))


def retry(context: Context) -> int:
    _, path = context.run_path(context.args.run)
    return _finish(context, context.ask("POST", f"{_numbered(context, path)}/retry"))


def cancel(context: Context) -> int:
    _, path = context.run_path(context.args.run)
    answer = context.ask("POST", f"{_numbered(context, path)}/cancel")
    if context.json:
        context.print_json(answer)
    else:
        context.terminal.say(
            f"{one_line(str(answer['run']))} is being cancelled; what serves goes on serving."
        )
    return DONE


def _numbered(context: Context, path: str) -> str:
    """The path with the number in place of ``latest``: what acts must not hit a run that came just now."""
    if not path.endswith("/latest"):
        return path
    return path.removesuffix("latest") + str(int(context.ask("GET", path)["run"]["number"]))


def promote(context: Context) -> int:
    """Binds the promotion to the run, the gate and the release that are shown."""
    run = _waiting(context)
    name = f"{run['pipeline']}#{run['number']}"
    if run.get("state") != "waiting":
        state = one_line(str(run.get("outcome") or run.get("state")))
        raise RequestError(
            f"{one_line(name)} does not wait at a gate; it is {state}.",
            advice="`pushlive status` shows what waits.",
        )
    said = cleaned(run)
    if not context.json:
        release = f"r{said['release']} " if said.get("release") else ""
        context.terminal.say(
            f"{one_line(name)} → {said['gate']}: {release}{said['commit'][:7]} {said['message']}"
        )
    path = f"/api/runs/{run['pipeline']}/{run['number']}/events"
    # While it waits the stream ends at once: what was told before is not told again.
    past = (
        [message for message in messages(context, path, "") if "id" in message] if context.args.wait else []
    )
    body = {"run": run["number"], "environment": run["gate"], "release": run.get("release")}
    answer = context.ask("POST", f"/api/pipelines/{run['pipeline']}/promote", body)
    return _finish(context, answer, after=str(past[-1]["id"]) if past else "", run=run)


def _waiting(context: Context) -> dict[str, Any]:
    name, number = reference(context.args.run)
    name = context.pipeline(name)
    if number is not None:
        return known(context, f"/api/runs/{name}/{number}")
    status = context.ask("GET", f"/api/status?pipeline={name}")
    waiting = [entry.get("waiting") for entry in status["pipelines"] if entry.get("name") == name]
    if not waiting or not waiting[0]:
        raise RequestError(
            f"no run of {name} waits for a person.", advice="`pushlive status` shows what goes on."
        )
    found: dict[str, Any] = waiting[0]
    return found


def revert(context: Context) -> int:
    args, began = context.args, time.monotonic()
    body: dict[str, Any] = {"to": release_number(args.to)} if args.to else {}
    body |= {key: text for key, text in (("environment", args.env), ("reason", args.reason)) if text}
    name = context.pipeline(pipeline_name(args.pipeline))
    answer = context.ask("POST", f"/api/pipelines/{name}/revert", body)
    return _finish(context, answer, began=began)


def _finish(
    context: Context,
    answer: dict[str, Any],
    *,
    after: str = "",
    run: dict[str, Any] | None = None,
    began: float = 0.0,
) -> int:
    """Follows the run that was started, unless told not to wait. ``--json`` prints its data at the end."""
    name, number = split_reference(str(answer["run"]))
    if not context.args.wait:
        if context.json:
            context.print_json(answer)
        else:
            context.terminal.say(
                f"{name}#{number} is accepted; `pushlive follow '{name}#{number}'` watches it."
            )
        return DONE
    path = f"/api/runs/{name}/{number}"
    if run is None:
        run = known(context, path) if context.terminal.live else {"pipeline": name, "number": number}
    end = watch(context, run, after=after, show=(lambda _: None) if context.json else None)
    if context.json:
        context.print_json(context.ask("GET", path))
    elif began:
        _say_time(context, name, number, end, time.monotonic() - began)
    return end.code


def _say_time(context: Context, name: str, number: int, end: End, seconds: float) -> None:
    if end.code == DONE:
        context.terminal.say(f"{name}#{number} reverted in {span(seconds)}.")
    else:
        how = one_line(end.outcome or end.state)
        context.terminal.complain(
            f"{name}#{number} did not revert ({how}) after {span(seconds)}.",
            f"  `pushlive show '{name}#{number}'` says why; `pushlive status` says what serves.",
        )


def _messages(context: Context, path: str, body: dict[str, Any]) -> int:
    return context.tell(context.ask("POST", path, body))


def hold(context: Context) -> int:
    name = context.pipeline(pipeline_name(context.args.pipeline))
    texts = (("environment", context.args.env), ("reason", context.args.reason))
    return _messages(context, f"/api/pipelines/{name}/hold", {key: text for key, text in texts if text})


def resume(context: Context) -> int:
    name = context.pipeline(pipeline_name(context.args.pipeline))
    body = {"environment": context.args.env} if context.args.env else {}
    return _messages(context, f"/api/pipelines/{name}/resume", body)


def unquarantine(context: Context) -> int:
    *names, release = context.args.words
    if len(names) > 1:
        raise UsageError("too many words.", advice="Write `pushlive unquarantine hello r17`.")
    body: dict[str, Any] = {"release": release_number(release)}
    name = context.pipeline(pipeline_name(names[0] if names else ""))
    if context.args.env:
        body["environment"] = context.args.env
    return _messages(context, f"/api/pipelines/{name}/unquarantine", body)


def read_config(path: str) -> str:
    """The text of a pipelines.yaml. Raises ConfigError that names the file."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no file {one_line(path)!r}.",
            advice="`pushlive init` writes a pipelines.yaml to start from.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{one_line(path)} cannot be read: {one_line(str(error))}.") from error
