"""When previews are opened and closed. Pure: what is read is given, and what is to be kept is returned."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config.previews.keys import Previews as Keys
from pipeline.config.previews.names import name_for
from pipeline.domain.previews.records import Preview, Previews, PreviewState
from pipeline.lib.units import show_age

KEPT = 50  # closed previews of which the records are kept


def of_branch(found: Previews, pipeline: str, branch: str, url: str = "", request: int = 0) -> Preview | None:
    """The newest one of that branch; for one of another repository that of the pull request."""
    same = [
        one
        for one in found.values()
        if one.pipeline == pipeline
        and one.url == url
        and (one.request == request if url else one.branch == branch)
    ]
    return max(same, key=lambda one: one.opened, default=None)


def living(found: Previews, pipeline: str) -> list[Preview]:
    """Those of the pipeline that count, the one without a push for longest first."""
    mine = (one for one in found.values() if one.pipeline == pipeline and one.state != PreviewState.CLOSED)
    return sorted(mine, key=lambda one: one.pushed)


def refused(found: Previews, keys: Keys, pipeline: str, now: float) -> str:
    """Why there is no room for one more, "" if there is."""
    there = living(found, pipeline)
    if len(there) < keys.max:
        return ""
    oldest = there[0]
    return (
        f"{pipeline} has {len(there)} previews, as many as `max` allows. The one without a push for longest is "
        f"{oldest.name} ({show_age(max(0.0, now - oldest.pushed))}): `pushlive preview rm {oldest.name}` removes it"
    )


def opened(found: Previews, keys: Keys, wanted: Preview) -> Preview:
    """As it is to be kept: the one of the branch again, or a new one with a name of its own. One that was closed begins
    again with empty data, also if not all that it had is removed yet."""
    known = of_branch(found, wanted.pipeline, wanted.branch, wanted.url, wanted.request)
    if known is None:
        text = f"pr-{wanted.request}" if wanted.foreign else keys.text_of(wanted.branch)
        key = f"#{wanted.request}" if wanted.foreign else wanted.branch
        return replace(wanted, name=name_for(wanted.pipeline, key, text, found))
    fresh = not known.alive
    return replace(
        wanted,
        name=known.name,
        opened=wanted.opened if fresh else known.opened,
        request=wanted.request or known.request,
        allowed=known.allowed,
        allowed_by=known.allowed_by,
        filled=known.filled and not fresh,
        leftover=known.leftover or known.state == PreviewState.CLOSING,
        before=known.before,
    )


def trimmed(found: Previews) -> Previews:
    """Without the closed ones beyond KEPT."""
    closed = sorted(
        (one for one in found.values() if one.state == PreviewState.CLOSED), key=lambda one: one.closed
    )
    gone = {one.name for one in closed[: max(0, len(closed) - KEPT)]}
    return {name: one for name, one in found.items() if name not in gone}


def ends(one: Preview, keys: Keys) -> float:
    """When it is removed for want of a push."""
    return one.pushed + keys.age


def too_old(one: Preview, keys: Keys, now: float) -> str:
    """Why it is closed for its age, "" if it is not."""
    return f"no push for {show_age(keys.age)}" if now >= ends(one, keys) else ""


def must_wait(one: Preview, commit: str) -> bool:
    """Whether a person has to allow this commit first."""
    return one.foreign and one.allowed != commit


def why_it_waits(one: Preview, commit: str) -> str:
    """For the run of such a commit."""
    return (
        f"{commit[:7]} comes from another repository, and no one has allowed it: look at it, then "
        f"`pushlive preview allow {one.name} --commit {commit[:7]}`"
    )
