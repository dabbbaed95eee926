"""The client of the object store that the settings name. The library is an extra, and is loaded when it is needed."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3

from pipeline.config.settings import Settings
from pipeline.config.workload.object_store import INSTALL, is_installed
from pipeline.errors import EngineFailed

if TYPE_CHECKING:
    from minio import Minio
    from minio.credentials.providers import Provider

AMAZON = "https://s3.amazonaws.com"
_CONNECT, _READ = 10.0, 60.0  # seconds
_ROLE = 2.0  # seconds for each answer of Amazon's machines about their role
_REPEATED = frozenset({"DELETE", "GET", "HEAD", "PUT"})  # a POST begins or completes an upload


def endpoint(settings: Settings) -> str:
    """Its URL without a path."""
    found = (
        settings.s3_endpoint
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or AMAZON
    )
    return found.rstrip("/")


def client(settings: Settings) -> Minio:
    """A new one. Raises EngineFailed without the library, or without a key for the store."""
    if not is_installed():
        raise EngineFailed("The library for s3:// is not installed where the service runs.", advice=INSTALL)
    from minio import Minio

    url = urlsplit(endpoint(settings))
    made = Minio(
        url.netloc,
        secure=url.scheme == "https",
        region=settings.s3_region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        credentials=_credentials(settings),
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=_CONNECT, read=_READ),
            retries=urllib3.Retry(
                3, backoff_factor=0.5, status_forcelist=(500, 502, 503, 504), allowed_methods=_REPEATED,
                raise_on_status=False, redirect=0, raise_on_redirect=False,
            ),
            ssl_context=ssl.create_default_context(),
        ),
    )  # fmt: skip
    if settings.s3_addressing == "virtual":
        made.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
    elif settings.s3_addressing == "path":
        made.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
    return made


def _credentials(settings: Settings) -> Provider:
    from minio.credentials.providers import AWSConfigProvider, EnvAWSProvider, IamAwsProvider, StaticProvider

    if settings.s3_access_key:
        return StaticProvider(settings.s3_access_key, settings.s3_secret_key.reveal())
    providers: list[Provider] = [EnvAWSProvider(), AWSConfigProvider()]
    if endpoint(settings).endswith((".amazonaws.com", ".amazonaws.com.cn")):
        hurried = urllib3.PoolManager(timeout=_ROLE, retries=1)
        providers.append(IamAwsProvider(http_client=hurried))
    for one in providers:
        try:
            one.retrieve()
        except (ValueError, OSError, urllib3.exceptions.HTTPError):
            continue
        return one
    raise EngineFailed(
        f"There is no key for {endpoint(settings)}.",
        advice="Set PUSHLIVE_S3_ACCESS_KEY and PUSHLIVE_S3_SECRET_KEY (or PUSHLIVE_S3_SECRET_KEY_FILE) of the service, "
        "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    )
