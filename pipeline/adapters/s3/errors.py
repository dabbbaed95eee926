"""What an object store refuses, as sentences with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from urllib3.exceptions import HTTPError

from pipeline.errors import EngineFailed
from pipeline.lib.text import one_line

DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "MethodNotAllowed", "NotImplemented"})
MISSING = frozenset({"NoSuchKey", "NoSuchUpload", "NoSuchVersion"})

_KEYS = (
    "PUSHLIVE_S3_ACCESS_KEY and PUSHLIVE_S3_SECRET_KEY of the service have the key (else AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY); correct them and start the service again."
)
_REGION = "PUSHLIVE_S3_REGION of the service names the region of the bucket; correct it and start the service again."
_WRONG_KEY = "the store does not know the access key, or its secret is wrong"
_EXPIRED = "the session of the access key is over"
_FULL = "the store has no space left for it, or a quota is reached"
_ROOM = "Make room there or raise the quota; a smaller `keep` needs less."
# By the code of the store's answer: what it means, and what to do.
_MEANS = {
    "InvalidAccessKeyId": (_WRONG_KEY, _KEYS),
    "SignatureDoesNotMatch": (_WRONG_KEY, _KEYS),
    "XAdminUserNotFound": (_WRONG_KEY, _KEYS),  # versitygw's
    "InvalidToken": (_EXPIRED, _KEYS),
    "ExpiredToken": (_EXPIRED, _KEYS),
    "AccessDenied": (
        "the access key may not do that",
        "It needs ListBucket on the bucket, PutObject, GetObject and AbortMultipartUpload on its objects, and "
        "DeleteObject for `keep`. Without PUSHLIVE_S3_REGION it needs GetBucketLocation as well.",
    ),
    "NoSuchBucket": ("there is no such bucket", "Make it, or correct `backup.to` in pipelines.yaml."),
    "AuthorizationHeaderMalformed": ("the bucket is in another region", _REGION),
    "PermanentRedirect": ("the bucket is in another region", _REGION),
    "InvalidRegion": ("there is no such region", _REGION),
    "RequestTimeTooSkewed": (
        "the clock of this machine and the clock of the store differ by too much",
        "Set this machine's clock; `timedatectl` says whether it follows a time server.",
    ),
    "QuotaExceeded": (_FULL, _ROOM),
    "XMinioAdminBucketQuotaExceeded": (_FULL, _ROOM),
    "XMinioStorageFull": (_FULL, _ROOM),
    "InsufficientStorage": (_FULL, _ROOM),
}
_STATUS = {401: "InvalidAccessKeyId", 403: "AccessDenied", 404: "NoSuchBucket", 507: "InsufficientStorage"}


def failed(what: str, code: str, text: str) -> EngineFailed:
    """``what``: such as "x.dump was not copied to s3://bucket"; ``code``: of the store's answer; ``text``: what it
    says."""
    said = one_line(text)[:200]
    why, advice = _MEANS.get(code, (said or code, "Try again; if it stays so, ask those who run the store."))
    more = f" (it says: {said})" if code in _MEANS and said else ""
    return EngineFailed(f"{what}: {why}{more}.", advice=advice)


@contextmanager
def translated(what: str, endpoint: str) -> Iterator[None]:
    """Lets none of the library's errors out: raises EngineFailed instead."""
    from minio.error import InvalidResponseError, S3Error, ServerError

    try:
        yield
    except S3Error as error:
        code = error.code or ""
        if code not in _MEANS:  # one of this store's own
            code = _STATUS.get(error.response.status, code) if error.response.status != 404 else code
        raise failed(what, code, error.message or "") from error
    except InvalidResponseError as error:
        code = _STATUS.get(error._code, "")
        raise failed(
            what, code, "" if code else f"{endpoint} answers {error._code}, and not as S3 does"
        ) from error
    except ServerError as error:
        code = _STATUS.get(error.status_code, "")
        raise failed(what, code, f"{endpoint} answers {error.status_code}") from error
    except ValueError as error:  # a name that the library does not take
        raise failed(what, "", str(error)) from error
    except (HTTPError, OSError) as error:
        raise EngineFailed(
            f"{what}: {endpoint} cannot be reached: {_reason(error)}.",
            advice="PUSHLIVE_S3_ENDPOINT of the service names the store: check that it runs, and that this machine can "
            "connect to it.",
        ) from error


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None) or error
    return one_line(str(inner))[:200]
