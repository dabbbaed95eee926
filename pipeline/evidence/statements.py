"""What is signed: in-toto statements about an image, and about the list of a bundle's files.

The statement follows https://in-toto.io/Statement/v1 (in-toto/attestation, spec/v1/statement.md and
resource_descriptor.md), the provenance of the image https://slsa.dev/provenance/v1 (slsa.dev/spec/v1.0/provenance).
docs/guides/evidence.md describes the fields that are ours: ``buildType`` with its parameters, and the bundle's
predicate.
"""

from __future__ import annotations

import hashlib
from typing import Any

from pipeline.evidence.layout import SUMS

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
BUNDLE_TYPE = "urn:pushlive:evidence:bundle:v1"
BUILD_TYPE = "urn:pushlive:build:dockerfile:v1"
BUILDER = "urn:pushlive:installation:"


def of_bundle(name: str, sums: str) -> dict[str, Any]:
    """``sums``: the content of SHA256SUMS. ``name``: "hello r17"."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": SUMS, "digest": {"sha256": hashlib.sha256(sums.encode()).hexdigest()}}],
        "predicateType": BUNDLE_TYPE,
        "predicate": {"name": name},
    }


def digest_signed(statement: dict[str, Any]) -> str:
    """The SHA-256 of the list that a bundle's statement is about. Raises ValueError for another statement."""
    subjects = statement.get("subject")
    if (
        statement.get("_type") == STATEMENT_TYPE
        and statement.get("predicateType") == BUNDLE_TYPE
        and isinstance(subjects, list)
    ):
        for one in subjects:
            if isinstance(one, dict) and one.get("name") == SUMS and isinstance(one.get("digest"), dict):
                return str(one["digest"].get("sha256", ""))
    raise ValueError("it is a statement about something else")


def images_of(statement: dict[str, Any]) -> frozenset[str]:
    """The digests, ``sha256:…``, that a provenance is about; none for another statement."""
    subjects = statement.get("subject")
    right = (statement.get("_type"), statement.get("predicateType")) == (STATEMENT_TYPE, PROVENANCE_TYPE)
    if not right or not isinstance(subjects, list):
        return frozenset()
    digests = [one.get("digest") for one in subjects if isinstance(one, dict)]
    return frozenset(f"sha256:{one.get('sha256', '')}" for one in digests if isinstance(one, dict))


def provenance(record: dict[str, Any]) -> dict[str, Any] | None:
    """Of the image in the record of the run that built it; None if it built none."""
    run, release = record["run"], record["release"]
    if release is None or release["run"] != run["number"] or run["from_release"] is not None:
        return None
    if not release["image"].startswith("sha256:"):
        return None
    subjects = [{"name": release["tag"], "digest": _sha256(release["image"])}]
    name, _, pushed = release["remote"].partition("@")
    subjects += [{"name": name, "digest": _sha256(pushed)}] if pushed else []
    source = {"uri": f"git+{run['source']}@{run['ref']}", "digest": {"gitCommit": run["commit"]}}
    bases = [{"name": one["name"], "digest": _sha256(one["image"])} for one in record["bases"]]
    built = [step for step in record["steps"] if step["stage"] == "build"]
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PROVENANCE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "source": run["source"],
                    "ref": run["ref"],
                    "build": record["build"],
                },
                "resolvedDependencies": [source, *bases],
            },
            "runDetails": {
                "builder": {
                    "id": f"{BUILDER}{record['installation']}",
                    "version": {"pushlive": record["version"]},
                },
                "metadata": {
                    "invocationId": run["id"],
                    "startedOn": _seconds(built[0]["started"] if built else run["started"]),
                    "finishedOn": _seconds(release["created"]),
                },
            },
        },
    }


def _sha256(digest: str) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}


def _seconds(time: str) -> str:
    """Timestamps of in-toto have whole seconds."""
    return f"{time[:19]}Z"
