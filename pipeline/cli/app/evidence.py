"""``pushlive evidence``: what was recorded of a run or a release, as a bundle that others can check."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipeline.cli.app.backups import whole_file
from pipeline.cli.command import JSON, Command, Given, argument, command
from pipeline.cli.context import DONE, FAILED, Context, UsageError, pipeline_name
from pipeline.cli.terminal import cleaned, table
from pipeline.domain.audit_chain import own_detail
from pipeline.errors import ConfigError, PushliveError, RequestError
from pipeline.lib.text import one_line
from pipeline.lib.units import show_age, show_size

if TYPE_CHECKING:
    from pipeline.evidence.signing import PublicKey
    from pipeline.evidence.verify import Found

_ARCHIVES = (".tar.gz", ".tgz")
LISTED = 50  # of each kind
_KEY_LIMIT = 64 << 10  # bytes


_FILE = argument(
    "--key", metavar="FILE", help="the public key of who must have signed it (default: anyone may)"
)
_HELPS = {
    "list": Command(
        "list what is recorded of a pipeline: its runs, bakes and verdicts, and what people did",
        (
            argument("name", nargs="?", metavar="NAME", help="without one: acts that are about no pipeline"),
            JSON,
        ),
    ),
    "key": Command("print the public half of the key that signs the exports of this service", (JSON,)),
    "verify": Command(
        "check an export, without a service and without a network",
        (argument("place", metavar="DIR", help="the folder, or the .tar.gz"), _FILE, JSON),
    ),
}


@command(
    "export what was recorded of a release or a run; `key` prints the public key, `verify` checks an export",
    argument(
        "what",
        nargs="+",
        metavar="WHAT",
        help="a release (hello r17), a run (hello#42, hello 42), the latest run (hello), or `list`, `key`, `verify`: "
        "each has a --help of its own",
    ),
    argument("-o", "--output", action=Given, default="", metavar="DIR", help="a new folder, or FILE.tar.gz"),
    argument(
        "--env", action=Given, default="", metavar="NAME", help="of a release, only its runs to this one"
    ),
    argument("--key", action=Given, default="", metavar="FILE", help="with verify: who must have signed it"),
    JSON,
    words="NAME r17 | NAME#42 | NAME | list [NAME] | key | verify DIR",
    helps=_HELPS,
)
def evidence(context: Context) -> int:
    first, *rest = context.args.what
    if first == "key" and not rest:
        _refuse(context, first, "output", "env", "key")
        return _key(context)
    if first == "list" and len(rest) <= 1:
        _refuse(context, first, "output", "env", "key")
        return _list(context, rest[0] if rest else "")
    if first == "verify":
        _refuse(context, first, "output", "env")
        return _verify(context, rest)
    if context.args.key:
        raise UsageError("--key needs verify.", advice="Write `pushlive evidence verify DIR --key FILE`.")
    return _export(context, context.args.what)


def _refuse(context: Context, act: str, *options: str) -> None:
    """Raises UsageError for an option that would be ignored."""
    for name in options:
        if getattr(context.args, name):
            raise UsageError(
                f"{act} takes no --{name}.", advice="Leave it out: it is for an export, and --key for verify."
            )


def _key(context: Context) -> int:
    found = context.ask("GET", "/api/evidence/key")
    if context.json:
        context.print_json(found)
    else:
        context.terminal.data(*(one_line(line) for line in str(found["key"]).splitlines()))
    return DONE


def _list(context: Context, name: str) -> int:
    """What is recorded of a pipeline; without a name, what people did that is about no pipeline."""
    name = pipeline_name(name)
    path = f"/api/evidence/{quote(name, safe='')}" if name else "/api/evidence"
    found = context.ask("GET", f"{path}?limit={LISTED}")
    if context.json:
        context.print_json(found)
        return DONE
    terminal, records, acts = context.terminal, cleaned(found["records"]), cleaned(found["acts"])
    if not records and not acts:
        terminal.say(f"Nothing is recorded of {name or 'the installation'} yet.")
        return DONE
    head = ("record", "kind", "in", "release", "outcome", "written")
    rows = [
        [*(str(one[key]) for key in ("id", "kind", "environment", "release", "outcome")), _written(one)]
        for one in records
    ]
    if rows:
        terminal.data(*table(head, rows[::-1], terminal.paint, width=terminal.width, flexible=0, indent=""))
    if rows and acts:
        terminal.data("")
    if acts:
        terminal.data(*_acts(context, acts[::-1]))
    return DONE


def _written(one: dict[str, Any]) -> str:
    late = float(one.get("late") or 0)
    return f"{one['written']}{f', {show_age(late)} after its end' if late else ''}"


def _acts(context: Context, acts: Sequence[dict[str, Any]]) -> list[str]:
    head, terminal = ("entry", "time", "who", "act", "on", "what", "why", "before → after"), context.terminal
    rows = [
        (
            str(one["number"]),
            str(one["time"])[:19].replace("T", " "),
            str(one["who"]),
            str(one["act"]),
            " ".join(str(one[key]) for key in ("run", "environment", "release") if one[key]),
            own_detail(one),
            str(one["why"]),
            f"{one['before']} → {one['after']}" if one["before"] or one["after"] else "",
        )
        for one in acts
    ]
    return table(head, rows, terminal.paint, width=terminal.width, flexible=5, right=(0,), indent="")


# ── export ───────────────────────────────────────────────────────────────────


def _export(context: Context, words: Sequence[str]) -> int:
    *before, last = words
    if re.fullmatch(r"r[0-9]{1,9}", last) and len(before) <= 1:
        pipeline = context.pipeline(pipeline_name(before[0] if before else ""))
        path, name = f"/api/evidence/{pipeline}/{last}", f"{pipeline}-{last}"
    else:
        if context.args.env:
            raise UsageError(
                "--env needs a release.", advice="A run is exported whole; for a release, write `hello r17`."
            )
        pipeline, run_path = context.run_path(words)
        number = run_path.rpartition("/")[2]
        if number == "latest":
            number = str(context.ask("GET", run_path)["run"]["number"])
        path, name = f"/api/evidence/{pipeline}/{number}", f"{pipeline}-{number}"
    if context.args.env:
        path += f"?env={quote(context.args.env, safe='')}"
    target = Path(context.args.output or name)
    if target.exists():
        raise RequestError(
            f"{target} exists already; nothing was exported.", advice="Choose another name with -o."
        )
    with TemporaryDirectory(dir=target.absolute().parent, prefix=".pushlive-") as folder:
        archive = Path(folder) / "bundle.tar.gz"
        with whole_file(archive) as file:
            for piece in context.client.pieces(path):
                file.write(piece)
        found, size = _checked(archive), archive.stat().st_size
        if target.name.endswith(_ARCHIVES):
            archive.rename(target)
        else:
            _unpack(archive, Path(folder) / "bundle")
            (Path(folder) / "bundle").rename(target)
    return _tell(context, found, target, size)


def _checked(archive: Path) -> Found:
    """Raises RequestError unless all of it has come."""
    from pipeline.evidence.verify import verify

    found = verify(archive, None)
    if found.problems:
        raise RequestError(
            f"the bundle did not come as it was sent: {found.problems[0]}.",
            advice="The log of the service says why. Try again.",
        )
    return found


def _unpack(archive: Path, folder: Path) -> None:
    """Of a checked archive: plain files with safe names."""
    with tarfile.open(archive, "r:gz") as opened:
        for member in opened:
            path, content = folder / member.name, opened.extractfile(member)
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                with path.open("xb") as file:
                    while piece := content.read(1 << 20):
                        file.write(piece)


def _tell(context: Context, found: Found, target: Path, size: int) -> int:
    if context.json:
        about = {"name": found.name, "files": found.files, "sha256": found.sha256}
        context.print_json({**about, "output": str(target), "size": size})
        return DONE
    context.terminal.say(
        f"{one_line(found.name)}: {found.files} files in {target} ({show_size(size)} compressed)",
        f"sha256 {found.sha256}, in the audit log as well",
    )
    context.terminal.note(f"To check it elsewhere: `pushlive evidence verify {target} --key FILE`.")
    return DONE


# ── verify ───────────────────────────────────────────────────────────────────


def _verify(context: Context, rest: Sequence[str]) -> int:
    """Without a service, and without a network."""
    from pipeline.evidence.verify import verify

    if len(rest) != 1:
        raise UsageError(
            "verify needs the folder or archive of one bundle.",
            advice="Write `pushlive evidence verify DIR`.",
        )
    found = verify(Path(rest[0]), _public_key(context.args.key))
    if context.json:
        about = {"ok": not found.problems, "signed": found.signed, "name": found.name, "files": found.files}
        context.print_json({**about, "sha256": found.sha256, "problems": found.problems})
        return FAILED if found.problems else DONE
    terminal = context.terminal
    for problem in found.problems:
        terminal.data(terminal.paint("✗", "red bold") + " " + one_line(problem))
    if found.problems:
        terminal.note(
            "This is not what was exported. Ask for another export, and compare its hash with the audit log."
        )
        return FAILED
    name = one_line(found.name)
    if found.signed:
        terminal.data(
            f"{terminal.paint('✓', 'green')} {name}: signed by this key, {found.files} files unchanged."
        )
    else:
        terminal.data(f"{name}: consistent, origin unknown ({found.files} files).")
        terminal.note(
            "With the public key of the service (`pushlive evidence key`), --key FILE says who made it."
        )
    terminal.data(f"sha256 {found.sha256}")
    return DONE


def _public_key(name: str) -> PublicKey | None:
    from pipeline.evidence.signing import public_key

    if not name:
        return None
    try:
        with open(name, "rb") as opened:
            return public_key(opened.read(_KEY_LIMIT))
    except OSError as error:
        raise PushliveError(f"{name} cannot be read: {error.strerror}.", advice="Check its name.") from error
    except ValueError as error:
        raise ConfigError(
            f"{name} is not a public key.", advice="`pushlive evidence key` prints the one of a service."
        ) from error
