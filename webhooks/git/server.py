"""The built-in git server: smart HTTP over ``git http-backend``, for the repositories of pipelines.yaml.

Only the smart protocol's paths reach git. Its environment is built here: nothing from the service's own environment,
no configuration of the machine, no hook but ours.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from pipeline.config.settings import Settings
from pipeline.domain.run import Kind
from pipeline.errors import NotFound, PushliveError
from pipeline.lib import push_notes
from pipeline.lib.git_settings import ENVIRONMENT, SETTINGS, VISIBLE, ignoring, in_environment
from webhooks.context import WebContext
from webhooks.error_responses import RETRY_AFTER, Refused
from webhooks.git import configuration
from webhooks.git.advice import Advised
from webhooks.git.http_backend import BackendFailed, Body, Exchange
from webhooks.ports import TokenPort
from webhooks.security.auth import address, authenticate, may, require
from webhooks.security.intake import NEGOTIATION_LIMIT
from webhooks.security.limits import BodyRefused, received

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ROLES = {"git-upload-pack": "viewer", "git-receive-pack": "developer"}
NO_LFS = (  # shown by `git push`, whose hook asks first
    "Pushlive stores no Git LFS objects. Push without them: git push --no-verify. If the build needs these files, "
    "commit them without LFS first: git lfs untrack PATTERN, then git add --renormalize ."
)
RECENT = 20  # runs in which the pusher of a commit is looked for
HOOKS = {"pre-receive": "pre_receive", "post-receive": "hook"}  # git's name for each, and ours
HOOK = '#!/bin/sh\nexec "$PUSHLIVE_PYTHON" -I -S "$PUSHLIVE_HOOKS/{}.py"\n'


def install_hooks(folder: Path) -> Path:
    """Writes our hooks and their programs into ``folder``, the only files there, and returns the folder. Copies: an
    update may replace the programs while this process expects what they send now."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, program in HOOKS.items():
        _write(folder / f"{program}.py", Path(__file__).with_name(f"{program}.py").read_text())
        _write(folder / name, HOOK.format(program))
    return folder


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(stat.S_IRWXU)
    fresh.rename(path)


def blueprint(web: WebContext) -> Blueprint:
    git = Blueprint("git", __name__)

    @git.get("/git/<name>/info/refs")
    def refs(name: str) -> ResponseReturnValue:
        return _serve(web, name, request.args.get("service", ""), "info/refs")

    @git.post("/git/<name>/<any('git-upload-pack', 'git-receive-pack'):service>")
    def service(name: str, service: str) -> ResponseReturnValue:
        return _serve(web, name, service, service)

    @git.route("/git/<name>/info/lfs/<path:path>", methods=["GET", "POST"])
    def lfs(name: str, path: str) -> ResponseReturnValue:  # noqa: ARG001 - any of git-lfs's calls
        require(_basic(web), "viewer")
        _repository(web, name.removesuffix(".git"))
        answer = jsonify(message=NO_LFS)
        answer.status_code, answer.mimetype = 422, "application/vnd.git-lfs+json"
        return answer

    return git


def _serve(web: WebContext, name: str, service: str, path: str) -> ResponseReturnValue:
    if service not in ROLES:
        raise Refused(403, "only git's smart HTTP protocol is supported", advice="Use git 1.6.6 or later.")
    token = _basic(web)
    require(token, ROLES[service])
    if service == "git-receive-pack" and configuration.is_here(web, name.removesuffix(".git")):
        _require_maintainer(token)
    if service == "git-receive-pack":
        web.service.insist_on_store()  # before a ref moves: no run would follow
    repository = _repository(web, name.removesuffix(".git"))
    receiving = path == "git-receive-pack"
    limit = web.settings.push_limit if receiving else NEGOTIATION_LIMIT
    if (request.content_length or 0) > limit:
        raise Refused(
            413,
            f"the push is larger than {limit} bytes",
            advice="A maintainer can raise PUSHLIVE_PUSH_LIMIT.",
        )
    exchange = Exchange(_environment(web, repository, path, token), _request_body(limit, receiving))
    try:
        status, headers = exchange.head()
    except (BackendFailed, ValueError) as error:
        exchange.close()
        raise _refused_by_git() from error
    answer = Advised(exchange, partial(_pusher, web, name.removesuffix(".git"))) if receiving else exchange
    return Response(answer, status=status, headers=headers)


def _require_maintainer(token: TokenPort) -> None:
    if not may(token, "maintainer"):
        raise Refused(
            403,
            f"this repository has the configuration of Pushlive, and token {token.name!r} has the role {token.role}",
            advice="Only a maintainer's token may push to it. What a developer may change goes by "
            "`pushlive set PIPELINE KEY=VALUE`.",
        )


def _pusher(web: WebContext, repository: str, commit: str) -> str:
    """Who pushed that commit to the repository, "" if no recent run tells."""
    with suppress(PushliveError):
        for pipeline in web.service.pipelines_of_repository(repository):
            for run in web.service.runs(pipeline, RECENT):
                if run["commit"] == commit and run["kind"] == Kind.PUSH:
                    return str(run["pusher"])
    return ""


def _refused_by_git() -> Refused:
    """git ended without an answer, as for a body that it cannot read. Without a body, the repository is the cause."""
    advice = "The log of the service has its message."
    if request.method == "POST":
        return Refused(400, "git could not read this request", advice=advice)
    return Refused(503, "git cannot read this repository now", advice=advice, retry_after=RETRY_AFTER)


def _request_body(limit: int, receiving: bool) -> Body:
    """A pack is read while git reads it; anything else has arrived already. Raises Refused."""
    source = request.environ["wsgi.input"]
    if receiving and request.method == "POST":
        slack = 1 << 20  # git itself rejects larger packs, with a better message
        return Body(source, limit + slack, getattr(source, "stop_reading", lambda: None))
    try:
        return Body(received(request, limit), limit)
    except BodyRefused as error:
        raise error.as_refused() from error


def _basic(web: WebContext) -> TokenPort:
    """The token given as the password; the user name is ignored."""
    given = request.authorization
    text = (given.password or "") if given is not None and given.type == "basic" else ""
    return authenticate(web, text, "git: no token", "Use the token as the password, with any user name.")


def _repository(web: WebContext, name: str) -> Path:
    if not NAME.fullmatch(name) or ".." in name or not _is_known(web, name):
        web.service.count("git: unknown repository")
        raise NotFound(
            f"no pipeline uses a repository named {name[:64]!r}",
            advice="Add it to pipelines.yaml: `source: {repository: NAME}`, or a pipeline with that name.",
        )
    return web.ensure_repository(name)


def _is_known(web: WebContext, name: str) -> bool:
    return configuration.is_here(web, name) or bool(web.service.pipelines_of_repository(name))


def loopback(settings: Settings) -> str:
    """The address where a child process reaches this service."""
    host, _, port = settings.listen.rpartition(":")
    return f"{'127.0.0.1' if host in ('0.0.0.0', '[::]', '*') else host}:{port}"  # noqa: S104 - compared


def _environment(web: WebContext, repository: Path, path: str, token: TokenPort) -> dict[str, str]:
    protocol = request.headers.get("Git-Protocol", "")
    env = {
        **ENVIRONMENT,
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "GIT_PROJECT_ROOT": str(repository.parent),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROTOCOL": protocol if re.fullmatch(r"version=[0-9]", protocol) else "",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": f"/{repository.name}/{path}",
        "QUERY_STRING": f"service={request.args['service']}" if path == "info/refs" else "",
        "REMOTE_USER": token.name,
        "REMOTE_ADDR": address(web),
        "PUSHLIVE_ROLE": token.role,
        "CONTENT_TYPE": request.content_type or "",
        "CONTENT_LENGTH": str(request.content_length) if request.content_length is not None else "",
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "PUSHLIVE_REPOSITORY": repository.name.removesuffix(".git"),
        "PUSHLIVE_LISTEN": loopback(web.settings),
        "PUSHLIVE_INTERNAL": web.internal.reveal(),
        "PUSHLIVE_PYTHON": sys.executable,
        "PUSHLIVE_HOOKS": str(web.hooks),
        "PUSHLIVE_NOTE": str(push_notes.file_of(repository.absolute(), uuid.uuid4().hex)),
    }
    env |= configuration.environment(web, repository.name.removesuffix(".git"))
    return {k: v for k, v in env.items() if v} | _git_config(web)


def _git_config(web: WebContext) -> dict[str, str]:
    """Settings that override the repository's own."""
    values = (
        SETTINGS
        | ignoring(web.settings.git_fsck_ignore)
        | {
            "core.hooksPath": str(web.hooks),
            "http.receivepack": "true",
            "receive.advertisePushOptions": "true",
            "receive.maxInputSize": str(web.settings.push_limit),
            "receive.denyCurrentBranch": "ignore",
        }
    )
    return in_environment([*values.items(), *VISIBLE])
