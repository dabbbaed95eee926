"""Every record of an earlier version is read and written by this one without a word lost."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from pipeline.adapters import queue as queue_module
from pipeline.adapters.haproxy.config import State
from pipeline.domain import audit_chain
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.release import Release
from pipeline.domain.run import Run
from pipeline.domain.secret_versions import SecretRecord
from pipeline.lib import codec
from pipeline.notify.messages import Notice
from pipeline.store.outbox import Outage
from pipeline.store.tokens import Token
from tests.upgrade.fixtures import ALL, VERSIONS, Fixture, lost
from tests.upgrade.shapes import shapes

# What the values below a key are; None: plain text, numbers and names, which nothing parses.
KINDS: dict[str, type | None] = {
    "runs": Run,
    "releases": Release,
    "environments": Environment,
    "secrets": SecretRecord,
    "tokens": Token,
    "events": Event,
    "outbox": Notice,
    "outbox-trouble": Outage,
    **dict.fromkeys(
        ("audit", "audit-pending", "configs", "counts", "delivery", "due", "fact", "heads", "indices")
    ),
    **dict.fromkeys(("last-releases", "last-runs", "open", "outbox-lost", "outboxes", "pipelines")),
    **dict.fromkeys(
        ("keeper-rounds", "run-counters", "token-names", "token-used", "version", "with-secrets")
    ),
}
ADVICE = (
    "Records that version {version} wrote could not be read, or would lose a field. Give a new field a default, and "
    "leave old ones in place: docs/decisions/0012-data-of-earlier-versions.md."
)

pytestmark = pytest.mark.parametrize("fixture", ALL, ids=VERSIONS)


def texts(value: Any) -> list[str]:
    """The records in one key's value: of a string, a list, a hash, or a stream's entries."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list):
        return [one[1]["e"] if isinstance(one, list) else one for one in value]
    return [value]


def test_every_record_in_the_store_is_read_and_written_back_without_loss(fixture: Fixture) -> None:
    seen, wrong = set(), []
    for key, value in fixture.store.items():
        what = key.partition(":")[0]
        assert what in KINDS, f"{what} is a new kind of key: say in KINDS what its values are"
        kind = KINDS[what]
        if kind is None:
            continue
        for text in texts(value):
            seen.add(kind)
            wrong += lost(json.loads(text), json.loads(codec.dump(codec.load(kind, text))), key)
    assert wrong == []
    assert seen == {kind for kind in KINDS.values() if kind}  # the fixture has some of each


def test_stored_types_keep_their_fields_and_new_ones_have_a_default(fixture: Fixture) -> None:
    recorded, now = fixture.read("shapes.json"), shapes()
    wrong = [f"{path} is gone" for path in recorded if path not in now]
    for path, may_miss in now.items():
        if not may_miss and recorded.get(path, was_there(path, recorded)):
            wrong.append(f"{path} has no default")
    assert wrong == [], f"{wrong}: {ADVICE.format(version=fixture.version)}"


def was_there(path: str, recorded: dict[str, bool]) -> bool:
    """Whether the record that a new field is in is older than the field."""
    parent = path.rpartition(".")[0]
    return "." not in parent or parent in recorded


def test_fingerprints_are_as_they_were(fixture: Fixture) -> None:
    count = 0
    for pipeline in fixture.store["pipelines"]:
        releases = fixture.releases(pipeline)
        for text in fixture.store[f"environments:{pipeline}"].values():
            environment = codec.load(Environment, text)
            known = {number: fingerprint for number, (_, fingerprint) in environment.pairs.items()}
            known |= {one.release: one.fingerprint for one in environment.quarantine}
            for number, fingerprint in known.items():
                count += 1
                assert releases[number].fingerprint(environment.name) == fingerprint, (environment.id, number)
    assert count > 5


def test_the_audit_log_is_one_chain_and_its_entries_have_the_same_fields(fixture: Fixture) -> None:
    entries = [json.loads(line) for line in fixture.store["audit"]]
    report = audit_chain.verify(fixture.store["audit"])
    assert not report.problems, report
    made = audit_chain.entry("somebody", "act", 0.0, release=1)
    for entry in entries:
        assert made.keys() - {"before", "after"} <= entry.keys()  # those came later, and may be missing


def test_the_proxys_state_is_read_and_written_back(fixture: Fixture) -> None:
    text = fixture.read("proxy.json")["state.json"]
    assert lost(json.loads(text), json.loads(codec.dump(codec.load(State, text)))) == []


def test_a_job_in_the_queue_names_what_a_worker_of_today_executes(fixture: Fixture) -> None:
    recorded = fixture.read("queue.json")
    _, work = queue_module.queue_names(fixture.settings.instance)
    assert recorded["queue"] == f"rq:queue:{work}"
    for job in recorded["jobs"].values():
        name, instance, arguments, keywords = json.loads(zlib.decompress(base64.b64decode(job["data"])))
        assert (name, instance, keywords) == (queue_module.JOB, None, {})
        assert [type(one) for one in arguments] == [str, bool]
