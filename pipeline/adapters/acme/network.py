"""Requests to the authority: signed and with nonces by the library, within a deadline and of a bounded size by us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests
from acme import client, messages
from josepy.jwa import ES256
from josepy.jwk import JWK

from pipeline.adapters.deadline_sessions import DeadlineAdapter
from pipeline.lib.sockets import within

SECONDS = 30  # for one request and its answer
LARGEST = 1 << 20  # bytes of an answer
_NONCES = 10  # attempts; the library itself makes two


class Network(client.ClientNetwork):
    """See ``acme.client.ClientNetwork``. ``ca``: a file with the certificates that sign the authority's own address,
    instead of those that are trusted otherwise. ``wait_asked``: the ``Retry-After`` of the last answer."""

    def __init__(self, key: JWK, ca: Path | None) -> None:
        super().__init__(key, alg=ES256, user_agent="pushlive", timeout=SECONDS)
        self.wait_asked = ""
        self.public = key.public_key()
        if ca:
            self.verify_ssl = str(ca)  # type: ignore[assignment] # requests takes a path as well
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _Adapter())

    def _send_request(self, method: str, url: str, *args: Any, **options: Any) -> requests.Response:
        # A redirected POST would become a GET, whose answer looks like one to the POST.
        options["allow_redirects"] = method != "POST"
        self.wait_asked = ""
        with within(SECONDS):
            answer = super()._send_request(method, url, *args, **options)
        self.wait_asked = answer.headers.get("Retry-After", "")
        return answer

    def post(self, *args: Any, **options: Any) -> requests.Response:
        """Again with another nonce if the one that was used is not valid any more: an authority of several machines
        forgets some (RFC 8555, 6.5)."""
        for _ in range(_NONCES - 1):
            try:
                return self._post_once(*args, **options)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
                self._nonces.clear()
        return self._post_once(*args, **options)


class TooLarge(requests.exceptions.RequestException):
    """The answer has more than LARGEST bytes."""


class _Adapter(DeadlineAdapter):
    def send(self, request: Any, *arguments: Any, **options: Any) -> requests.Response:
        """See ``requests.adapters.HTTPAdapter.send``. Reads the answer, and no more of it than is allowed."""
        options["stream"] = True
        answer = super().send(request, *arguments, **options)
        body = b""
        for piece in answer.iter_content(1 << 16):
            body += piece
            if len(body) > LARGEST:
                answer.close()
                raise TooLarge(f"an answer of more than {LARGEST >> 20} MiB")
        answer._content = body
        return answer
