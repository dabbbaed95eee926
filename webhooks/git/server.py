"""The built-in git server: smart HTTP over ``git http-backend``, for the repositories of pipelines.yaml.

Only the paths of the smart protocol are passed on, with an environment made here: nothing of the service's
own environment, no configuration of the machine, no hook but ours.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pipeline.config.settings import Settings
from pipeline.errors import NotFound
from webhooks.answers import RETRY_AFTER, Refused
from webhooks.git.cgi import BackendFailed, Body, Exchange
from webhooks.ports import TokenPort
from webhooks.security.auth import address, allowed, whose
from webhooks.site import Site

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SERVICES = {"git-upload-pack": "viewer", "git-receive-pack": "developer"}
NEGOTIATION_LIMIT = 32 << 20  # bytes that a fetch may send
HOOK = '#!/bin/sh\nexec "$PUSHLIVE_PYTHON" -I -S "$PUSHLIVE_HOOK"\n'


def install_hooks(folder: Path) -> Path:
    """Writes our post-receive hook into ``folder``, which holds nothing else, and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".post-receive.{os.getpid()}"
    fresh.write_text(HOOK)
    fresh.chmod(stat.S_IRWXU)
    fresh.rename(folder / "post-receive")
    return folder


def blueprint(site: Site) -> Blueprint:
    git = Blueprint("git", __name__)

    @git.get("/git/<name>/info/refs")
    def refs(name: str) -> ResponseReturnValue:
        return _serve(site, name, request.args.get("service", ""), "info/refs")

    @git.post("/git/<name>/<any('git-upload-pack', 'git-receive-pack'):service>")
    def service(name: str, service: str) -> ResponseReturnValue:
        return _serve(site, name, service, service)

    return git


def _serve(site: Site, name: str, service: str, path: str) -> ResponseReturnValue:
    if service not in SERVICES:
        raise Refused(403, "only git's smart HTTP protocol is served", advice="Use git 1.6.6 or later.")
    token = _basic(site)
    allowed(token, SERVICES[service])
    repository = _repository(site, name.removesuffix(".git"))
    receiving = path == "git-receive-pack"
    limit = site.settings.push_limit if receiving else NEGOTIATION_LIMIT
    if (request.content_length or 0) > limit:
        raise Refused(413, f"the push is larger than {limit} bytes", advice="See PUSHLIVE_PUSH_LIMIT.")
    if receiving and not site.pushes.acquire(blocking=False):
        raise Refused(503, "too many pushes at once", advice=f"Push again in {RETRY_AFTER} s.")
    try:
        return _exchange(site, repository, path, token, limit, receiving)
    except BaseException:
        if receiving:
            site.pushes.release()
        raise


def _exchange(
    site: Site, repository: Path, path: str, token: TokenPort, limit: int, receiving: bool
) -> Response:
    source, sock = request.environ["wsgi.input"], request.environ.get("gunicorn.socket")
    slack = 1 << 20  # git itself refuses what is too large, with a better message
    exchange = Exchange(_environment(site, repository, path, token), Body(source, sock, limit + slack))
    try:
        status, headers = exchange.head()
    except (BackendFailed, ValueError) as error:
        exchange.close()
        raise Refused(502, "git failed", advice="See the service's log.") from error
    response = Response(exchange, status=status, headers=headers)
    if receiving:
        response.call_on_close(site.pushes.release)
    return response


def _basic(site: Site) -> TokenPort:
    """The token given as password; any user name will do."""
    given = request.authorization
    text = (given.password or "") if given is not None and given.type == "basic" else ""
    return whose(site, text, "git: no token", advice="The token is the password; any user name.")


def _repository(site: Site, name: str) -> Path:
    if not NAME.fullmatch(name) or ".." in name or not site.desk.pipelines_of_repository(name):
        site.desk.count("git: unknown repository")
        raise NotFound(
            f"no pipeline has the repository {name[:64]!r}",
            advice="Add it to pipelines.yaml, as `source: {repository: NAME}` or as a pipeline of that name.",
        )
    return site.ensure_repository(name)


def loopback(settings: Settings) -> str:
    """Where a child process reaches this service."""
    host, _, port = settings.listen.rpartition(":")
    return f"{'127.0.0.1' if host in ('0.0.0.0', '[::]', '*') else host}:{port}"  # noqa: S104 - compared


def _environment(site: Site, repository: Path, path: str, token: TokenPort) -> dict[str, str]:
    protocol = request.headers.get("Git-Protocol", "")
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_PROJECT_ROOT": str(repository.parent),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROTOCOL": protocol if re.fullmatch(r"version=[0-9]", protocol) else "",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": f"/{repository.name}/{path}",
        "QUERY_STRING": f"service={request.args['service']}" if path == "info/refs" else "",
        "REMOTE_USER": token.name,
        "REMOTE_ADDR": address(site),
        "PUSHLIVE_ROLE": token.role,
        "CONTENT_TYPE": request.content_type or "",
        "CONTENT_LENGTH": str(request.content_length) if request.content_length is not None else "",
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "PUSHLIVE_REPOSITORY": repository.name.removesuffix(".git"),
        "PUSHLIVE_LISTEN": loopback(site.settings),
        "PUSHLIVE_INTERNAL": site.internal.reveal(),
        "PUSHLIVE_PYTHON": sys.executable,
        "PUSHLIVE_HOOK": str(Path(__file__).with_name("hook.py")),
    }
    return {k: v for k, v in env.items() if v} | _git_config(site, repository)


def _git_config(site: Site, repository: Path) -> dict[str, str]:
    """Settings that win over the repository's own."""
    values = {
        "core.hooksPath": str(site.hooks),
        "core.fsmonitor": "false",
        "safe.directory": str(repository),
        "http.receivepack": "true",
        "receive.maxInputSize": str(site.settings.push_limit),
        "receive.denyCurrentBranch": "ignore",
        "transfer.hideRefs": "refs/pushlive",
    }
    pairs = {f"GIT_CONFIG_KEY_{i}": key for i, key in enumerate(values)}
    pairs |= {f"GIT_CONFIG_VALUE_{i}": value for i, value in enumerate(values.values())}
    return pairs | {"GIT_CONFIG_COUNT": str(len(values))}
