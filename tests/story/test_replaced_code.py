"""The code of the service is replaced while it runs: people are told once in the log, and wherever they look."""

from __future__ import annotations

from dataclasses import replace

from pipeline.deploy.runner import Runner
from pipeline.deploy.story import MAX_ATTEMPTS
from pipeline.domain.run import Outcome
from pipeline.maintenance.doctor.replaced_code import FACT, ReplacedCode, examine
from tests.story.conftest import go_on

TEXT = "Pushlive was updated from 0.1.0 to 0.2.0 while it runs. Restart it."


def test_it_is_logged_once_and_noted_until_it_is_over(world):
    now = [""]
    job = ReplacedCode(world.store, lambda: now[0])
    world.store.facts.set(FACT, "of an earlier service")
    assert (job.run(), world.store.facts.get(FACT)) == ([], "")
    now[0] = TEXT
    assert (job.run(), job.run(), world.store.facts.get(FACT)) == ([TEXT], [], TEXT)
    now[0] = ""
    assert (job.run(), world.store.facts.get(FACT)) == ([], "")


def test_status_says_it(world):
    assert world.commands.status()["replaced"] == ""
    world.replaced = TEXT
    assert world.commands.status()["replaced"] == TEXT


def test_doctor_says_what_happened_and_what_to_do():
    assert list(examine("")) == []
    [found] = examine(TEXT)
    assert (found["ok"], found["advice"]) == (False, "Restart it.")
    assert found["text"] == "Pushlive was updated from 0.1.0 to 0.2.0 while it runs."


def test_a_run_whose_workers_die_after_an_update_waits_for_the_restart(world):
    run = world.accept(world.commit("one"))
    world.store.transact("hello", lambda tx: tx.put_run(replace(run, attempts=MAX_ATTEMPTS - 1)))
    said = [TEXT]
    parts = world.services, world.adapters, world.commands.accept, go_on
    runner = Runner(*parts, lambda: said[0])
    assert (runner.work("hello"), world.store.run("hello", 1).attempts) == (None, MAX_ATTEMPTS - 1)
    assert world.store.due("hello")
    said[0] = ""  # after the restart
    assert runner.work("hello").outcome == Outcome.LIVE
