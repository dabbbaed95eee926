"""The evidence of runs and releases: bundles of what was recorded at their ends. Who may read logs may export it."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Who
from pipeline.domain.run import Outcome, State
from pipeline.errors import DamagedRecord, NotFound
from pipeline.evidence import late, record
from pipeline.evidence.acts import KeptAct
from pipeline.evidence.bundle import Contents, outcome_of, write
from pipeline.evidence.recorder import Recorder
from pipeline.evidence.records import Kept
from pipeline.evidence.signing import signing_key
from pipeline.evidence.upkeep import ACT, RUN
from pipeline.service.audited import OnEngines

_RECENT = 200  # runs that are looked through for those of a release that ended before there were records
_PIECE = 64 << 10
_ENTRIES, _BATCHES = 200, 20  # of the audit log, that an export looks at itself
_TEXTS = ("why", "detail", "before", "after")


class Evidence(OnEngines):
    """The bundles of what was deployed, and the key that signs them."""

    def key(self) -> dict[str, str]:
        """The public half of the key that signs bundles: ``{"key": PEM, "keyid"}``. Raises EngineFailed."""
        public = signing_key(self._settings.data).public
        return {"key": public.pem, "keyid": public.id}

    def record_of(self, pipeline: str, number: int) -> dict[str, Any]:
        """The record of that run. Raises NotFound if there is none, or the run has not ended."""
        return self._record(pipeline, number).record()

    def listed(self, pipeline: str, limit: int) -> dict[str, Any]:
        """The newest records, newest first: ``{"records": [{"id", "kind", "environment", "release", "outcome",
        "written", "late"}], "acts": […]}``; ``late``: how many seconds after its end a run's record was written, 0.0 if
        that was soon; each act as in its record. ``pipeline`` "": acts about none. Raises NotFound."""
        if pipeline and pipeline not in self._store.pipelines():
            self._known(self._config(), pipeline)
        recorder = self._recorder()
        records = (
            [one.record() for one in recorder.records.of(pipeline)[: -limit - 1 : -1]] if pipeline else []
        )
        acts = [one.record()[ACT] for one in recorder.acts.of(pipeline)[: -limit - 1 : -1]]
        return {"records": [_row(one) for one in records], "acts": acts}

    def bundle(
        self,
        pipeline: str,
        by: Who,
        *,
        run: int | None = None,
        release: int | None = None,
        environment: str = "",
    ) -> tuple[int, Generator[bytes]]:
        """The size of the ``.tar.gz``, and its bytes; close them. Of one run, or of every run of that release
        (``environment``: that was to reach it). Its hash is in the audit log before it is sent. Raises NotFound."""
        if release is not None:
            name, kept = f"{pipeline} r{release}", self._of_release(pipeline, release, environment)
        else:
            one = self._record(pipeline, run or 0)
            name, kept = f"{pipeline}#{one.run}", self._same_run(pipeline, one)
        acts = self._acts(pipeline, kept, release)
        contents = Contents(
            pipeline,
            name,
            environment,
            self._settings.instance,
            kept,
            acts,
            self._built(pipeline, kept[-1].release),
            self._of_acts(pipeline, acts),
        )
        out = tempfile.TemporaryFile(dir=self._settings.data)  # noqa: SIM115 - closed with the stream
        try:
            write(
                contents,
                signing_key(self._settings.data),
                out,
                lambda digest: self._note(by, contents, digest, run, release),
            )
        except BaseException:
            out.close()
            raise
        size = out.tell()
        out.seek(0)
        return size, _pieces(out)

    def _note(self, by: Who, contents: Contents, digest: str, run: int | None, release: int | None) -> None:
        """Once for each bundle that differs from the one before."""
        about = f"{contents.name} {contents.environment}".rstrip()

        def entry(_: str) -> audit_chain.Entry:
            return audit_chain.entry(
                by,
                "evidence",
                self._clock.now(),
                pipeline=contents.pipeline,
                environment=contents.environment,
                run=f"{contents.pipeline}#{run}" if run else "",
                release=release,
                detail=f"sha256 of {about}: {digest}",
            )

        if self._store.facts.change(f"evidence:{about}", digest, entry):
            self._move_entries()

    # ── records ──────────────────────────────────────────────────────────────

    def _recorder(self) -> Recorder:
        return Recorder(self._services, self._adapters())

    def _record(self, pipeline: str, number: int) -> Kept:
        recorder = self._recorder()
        try:
            run = self._store.run(pipeline, number)
        except NotFound:  # the store that had it may be lost
            found = [one for one in recorder.records.of(pipeline) if (one.kind, one.run) == (RUN, number)]
            if found:
                return found[-1]
            raise
        if run.state != State.ENDED:
            raise NotFound(
                f"{run.id} has not ended, so there is no evidence of it yet.",
                advice=f"`pushlive follow '{run.id}'` waits for its end.",
            )
        recorder.write(run)
        if kept := recorder.records.of_run(run):
            return kept
        raise NotFound(
            f"the record of {run.id} is older than PUSHLIVE_EVIDENCE_KEEP and was removed.",
            advice="A bundle that was exported before is still valid.",
        )

    def _of_release(self, pipeline: str, release: int, environment: str) -> tuple[Kept, ...]:
        recorder = self._recorder()
        for run in self._store.recent(pipeline, _RECENT, readable=True):
            if run.release == release and run.state == State.ENDED:
                recorder.write(run)
        found = tuple(one for one in recorder.records.of(pipeline) if one.release == release)
        if not found:
            self._store.release(pipeline, release)  # raises NotFound
            raise NotFound(
                f"no run of {pipeline} r{release} has ended, so there is no evidence of it yet.",
                advice=f"`pushlive runs {pipeline}` shows its run.",
            )
        if environment:
            found = tuple(one for one in found if environment in _environments(one.record()))
        if not found:
            raise NotFound(
                f"no run of {pipeline} r{release} was to reach {environment[:40]!r}.",
                advice=f"`pushlive evidence {pipeline} r{release}` has those of all environments.",
            )
        return found

    def _same_run(self, pipeline: str, of: Kept) -> tuple[Kept, ...]:
        """All records of that run."""
        found = self._recorder().records.of(pipeline)
        return tuple(one for one in found if (one.run, one.at) == (of.run, of.at))

    def _built(self, pipeline: str, release: int) -> dict[str, Any] | None:
        """The record of the run that built that release's image, or that of the release whose image it has."""
        found = [one for one in self._recorder().records.of(pipeline) if one.kind == RUN]
        while release:
            run = next((one for one in found if one.release == release), None)  # the first of them made it
            made = run.record() if run else None
            if made is None or not made["release"] or made["release"]["run"] != made["run"]["number"]:
                return None
            earlier = made["run"]["from_release"]
            if earlier is None:
                return made
            release = earlier if earlier < release else 0
        return None

    def _acts(self, pipeline: str, kept: tuple[Kept, ...], release: int | None) -> list[dict[str, Any]]:
        """What people did to these runs and this release, and to its environments meanwhile."""
        records = [one.record() for one in kept]
        runs = {one["id"] for one in records}
        environments = {name for one in records for name in _environments(one)}
        last = {name: self._replaced(pipeline, kept, name) for name in environments}

        name = f"r{release}" if release is not None else ""

        def wanted(one: Mapping[str, Any]) -> bool:
            if one.get("act") == "evidence" or not record.concerns(one, runs, name, environments):
                return False
            end = last.get(str(one.get("environment")), "")
            own = one.get("run") in runs or (name and one.get("release") == name)
            return bool(own) or not end or str(one.get("time", "")) <= end

        since = min((one.at / 1000 for one in kept), default=0.0) - record.SLACK
        found = {one["hash"]: one for record_ in records for one in record_.get("acts", ())}
        with suppress(DamagedRecord):
            found |= {one["hash"]: one for one in record.acts(self._services, pipeline, since, wanted)}
        mask, _ = self._vault.mask(pipeline)
        clean = [
            {key: mask.text(value) if key in _TEXTS else value for key, value in one.items()}
            for one in found.values()
        ]
        return sorted(clean, key=lambda one: (str(one["time"]), int(one["number"] or 0)))

    def _of_acts(self, pipeline: str, acts: Sequence[dict[str, Any]]) -> tuple[KeptAct, ...]:
        """The records of those acts that have one."""
        recorder = self._recorder()
        for _ in range(_BATCHES):  # after an upgrade the keeper may not be through with the log
            if not recorder.write_acts(_ENTRIES):
                break
        wanted = {(one["number"], str(one["hash"])[:8]) for one in acts}
        found = (*recorder.acts.of(""), *recorder.acts.of(pipeline))
        return tuple(one for one in found if (one.number, one.hash) in wanted)

    def _replaced(self, pipeline: str, kept: tuple[Kept, ...], environment: str) -> str:
        """When another release came to serve there after the newest of these records; "" if none has."""
        newest, own = max(one.at for one in kept), {one.release for one in kept}
        for one in self._recorder().records.of(pipeline):
            if one.kind == RUN and one.at > newest and one.release not in own:
                run = one.record()["run"]
                if run["outcome"] == Outcome.LIVE and environment in run["stages"]:
                    return str(run["ended"])
        return ""


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    release = record["release"]["name"] if record["release"] else ""
    same = {key: record.get(key, "") for key in ("id", "kind", "environment", "written")}
    return same | {"release": release, "outcome": outcome_of(record), "late": late.seconds_late(record)}


def _environments(record: Mapping[str, Any]) -> Sequence[str]:
    """Those that the record is about."""
    return record["run"]["stages"] if "run" in record else (record["environment"],)


def _pieces(out: IO[bytes]) -> Generator[bytes]:
    try:
        while piece := out.read(_PIECE):
            yield piece
    finally:
        out.close()
