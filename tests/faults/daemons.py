"""The Docker daemon under fault: restarted in the middle of a step, and without space on its disk."""

from __future__ import annotations

import signal
import time

from pipeline.domain.run import Outcome
from tests.faults.engines import served_again
from tests.faults.registry import fault
from tests.faults.scene import application
from tests.faults.traps import Trap
from tests.faults.trial import Trial
from tests.support.waiting import until

MIDST = {
    "build": Trap("builder.build", "inside", "nobody"),
    "start": Trap("engine.start", "inside", "nobody"),
    "switch": Trap("engine.switch", "before", "nobody"),
}
HOW = {"restarted": signal.SIGTERM, "killed": signal.SIGKILL}


def _restarted(trial: Trial, trap: Trap, number: signal.Signals) -> None:
    """The run goes on, or fails with the cause and leaves what served. The daemon's end takes the containers along."""
    daemon = trial.scene.dockerd
    assert daemon
    before = trial.page()
    one, _ = trial.trapped(trap)
    daemon.restart(number)
    back = time.monotonic()
    run = trial.ended(one)
    if run.outcome != Outcome.LIVE:
        trial.expected = before
        assert run.failure, run
        assert run.failure.whose == "engine", run.failure
    served_again(trial, back, 60)


def _register(step: str, how: str) -> None:
    words = f"the Docker daemon {how} during {step}"

    @fault(f"daemon-{how}-{step}", 23, words=words, scene="own", quiet=False)
    def act(trial: Trial) -> None:
        _restarted(trial, MIDST[step], HOW[how])


for _step, _how in (("build", "restarted"), ("start", "killed"), ("switch", "restarted")):
    _register(_step, _how)


@fault("disk-full", 22, words="the Engine's disk full during a build", scene="own")
def disk_full(trial: Trial) -> None:
    """A clean failure; live serves on; the next push goes live."""
    before = trial.page()
    files = application("version too large")
    files["Dockerfile"] = str(files["Dockerfile"]).replace(
        "sleep 0.5", "dd if=/dev/zero of=/large bs=1M count=2000"
    )
    one = trial.push(files)
    run = trial.ended(one)
    assert run.outcome == Outcome.FAILED, run.outcome
    assert run.failure, run
    assert "space" in f"{run.failure}".lower(), run.failure
    trial.pushed()
    assert trial.page() == before
    trial.push()
    trial.pushed()
    until(lambda: trial.page() == trial.expected, 30)
