"""What a person's role does not allow in an act that their token may call. Roles as such are checked where a request
comes in (``webhooks.security.auth``)."""

from __future__ import annotations

from pipeline.config import ownership
from pipeline.config.models import Config
from pipeline.domain.audit_chain import Actor
from pipeline.domain.environment import Environment
from pipeline.errors import Forbidden

MAINTAINER = "maintainer"
SHOWN = 10  # keys in one message


def refuse_changes(current: Config, changed: Config, pipeline: str, who: Actor) -> None:
    """Raises Forbidden if the changed configuration differs from the one in force in what is not theirs."""
    keys = () if who.role == MAINTAINER else ownership.maintainers(current, changed, pipeline)
    if keys:
        more = f" and {len(keys) - SHOWN} more keys" if len(keys) > SHOWN else ""
        raise Forbidden(
            f"only a maintainer may change {', '.join(keys[:SHOWN])}{more}, and {who.name} is not one.",
            advice="Take these keys over from the configuration in force (`pushlive plan FILE` shows the differences), "
            "or ask a maintainer to change them in pipelines.yaml. A developer may change "
            f"{', '.join(ownership.DEVELOPERS)}.",
        )


def refuse_skipping(environment: Environment | None, to: int | None, who: Actor) -> None:
    """Raises Forbidden for a revert to a release that was never good there: a revert passes no stage before it and no
    gate, so it would be a way around them."""
    if environment is None or to is None or to in environment.good or who.role == MAINTAINER:
        return
    raise Forbidden(
        f"r{to} was never verified in {environment.id}, and only a maintainer may revert to such a release: a revert "
        f"skips the stages and gates before it, and {who.name} is not a maintainer.",
        advice=f"`pushlive deploy {environment.pipeline} --release r{to}` takes it through every stage.",
    )


def refuse_hands(config: Config, pipeline: str, environment: str, who: Actor, what: str) -> None:
    """Raises Forbidden unless they may run commands, or take files, in that environment: in the last one of its
    pipeline that is a maintainer's, since a command there can change and read what people's data is."""
    last = next(reversed(config.pipelines[pipeline].environments))
    if environment != last or who.role == MAINTAINER:
        return
    raise Forbidden(
        f"only a maintainer may {what} in {pipeline}/{environment}, the last environment, and {who.name} is not one.",
        advice="Ask a maintainer to do it, or try it in an environment before.",
    )
