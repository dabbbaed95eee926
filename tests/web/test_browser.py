"""The pages in a real browser, on the real service and store: log in, look, press the button, see it live."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from pipeline.runtime.embedded_store import EmbeddedStore, url
from tests.story.conftest import World
from tests.support.browser import log_in, page, patiently, press, see, write
from tests.support.ports import free_port
from webhooks.app import create_app
from webhooks.server import Server
from webhooks.site import Site

pytest_plugins = ["tests.support.browser"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    embedded = EmbeddedStore(tmp_path)
    embedded.start()
    config = "pipelines: {hello: {environments: {dev: , live: {promote: manual}}}}"
    yield World(url(tmp_path), tmp_path, config)
    embedded.stop()


@pytest.fixture
def address(world: World, tmp_path: Path) -> Iterator[str]:
    app = create_app(world.commands, world.settings, lambda name: tmp_path / name)
    listen = f"127.0.0.1:{free_port()}"
    server = Server(listen, lambda: Site(app))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.serving.wait(20)
    yield f"http://{listen}"
    server.stop()
    thread.join(20)
    assert not thread.is_alive()


def carry(world: World, done: Callable[[], bool]) -> None:
    """Works as a worker until the run that the button requested has ended."""
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline, world.serving()
        world.work()


def test_a_release_is_promoted_by_a_button_and_reverted_by_another(browser, world, address):
    world.push("The first version")
    world.commands.promote("hello", "ann")
    world.work()
    world.push("The second version")
    log_in(browser, address, world.commands.create_token("bo", "developer", "ann"))
    see(browser, "hello#2 waits before live")
    press(browser, "Promote r2")
    see(browser, "live gets r2")
    press(browser, "Promote r2 to live", within="main form")
    carry(world, lambda: world.serving()["live"] == 2)
    browser.get(address)
    see(browser, "revert ready: r1, warm")
    assert world.serving()["live"] == 2
    press(browser, "Revert to r1", within=".card:nth-child(2)")
    see(browser, "live is held: no run is promoted into it")
    press(browser, "Revert", within="main form")
    carry(world, lambda: world.serving()["live"] == 1)
    browser.get(address)
    see(browser, "Held by bo")
    assert world.serving()["live"] == 1


def test_a_viewer_sees_and_has_no_buttons_that_act(browser, world, address):
    world.push("The first version")
    browser.delete_all_cookies()
    log_in(browser, address, world.commands.create_token("eve", "viewer", "ann"))
    see(browser, "hello#1 waits before live")
    assert [b.text for b in browser.find_elements(By.CSS_SELECTOR, "main a.button, main button")] == []


def test_fault_47_markup_in_a_commit_is_text_on_the_page(browser, world, address):
    world.push("<img src=x onerror=alert(1)><script>alert(2)</script>\x1b[31m")
    browser.delete_all_cookies()
    log_in(browser, address, world.commands.create_token("cy", "viewer", "ann"))
    see(browser, "<script>alert(2)</script>")
    assert browser.find_elements(By.CSS_SELECTOR, "main img, main script") == []
    browser.get(f"{address}/runs/hello/1")
    see(browser, "<script>alert(2)</script>")


def test_a_run_that_waits_for_the_end_of_a_hold_offers_resume(browser, world, address):
    world.commands.hold("hello", "ann", environment="dev", reason="a freeze")
    world.push("The first version")
    browser.delete_all_cookies()
    log_in(browser, address, world.commands.create_token("di", "developer", "ann"))
    see(browser, "hello#1 waits before dev")
    press(browser, "Resume dev")
    press(browser, "Resume", within="main form")
    carry(world, lambda: world.run(1).gate == "live")
    browser.get(address)
    see(browser, "hello#1 waits before live")


TWO = "pipelines: {hello: {environments: {dev: , live: {promote: {manual: true, approvals: 2}}}}}"
FREE = "pipelines: {hello: {environments: {dev: , live: }}, shop: {environments: {qa: }}}"


def enter(browser: webdriver.Chrome, world: World, address: str, name: str, role: str = "developer") -> None:
    """That person logs in, with a token of their own."""
    browser.get(address)
    browser.delete_all_cookies()
    log_in(browser, address, world.commands.create_token(name, role, "ann"))


def reason_of(world: World, act: str) -> tuple[str, str]:
    """Who did the last such act, and why."""
    found = next(one for one in world.commands.audit_log(limit=100) if one["act"] == act)
    return str(found["who"]), str(found["why"])


def test_everything_is_frozen_by_a_button_until_a_time_and_thawed_by_another(browser, world, address):
    world.configure(FREE)
    enter(browser, world, address, "mia", "maintainer")
    world.push("The first version")
    see(browser, "The first version")
    press(browser, "Freeze all")
    see(browser, "No push and no deploy enters any environment of any pipeline")
    zone = browser.execute_script("return Intl.DateTimeFormat().resolvedOptions().timeZone")
    assert browser.find_element(By.NAME, "zone").get_attribute("value") == zone
    press(browser, "Freeze all", within="main form")
    see(browser, "No push and no deploy")  # the browser asks for a reason before it sends anything
    write(browser, "reason", "the exams")
    write(browser, "until", "2h")
    press(browser, "Freeze all", within="main form")
    see(browser, "live is frozen until")
    see(browser, "qa is frozen until")
    assert reason_of(world, "freeze") == ("mia", "the exams")
    assert world.push("The second version").gate == "dev"
    see(browser, "hello#2 waits before dev")
    press(browser, "Thaw all")
    see(browser, "All of these end here.")
    write(browser, "reason", "they are over")
    press(browser, "Thaw all", within="main form")
    see(browser, "r1 is watched")
    assert reason_of(world, "thaw") == ("mia", "they are over")
    world.jobs.opening.run()
    carry(world, lambda: world.serving()["live"] == 2)


def test_one_environment_is_frozen_and_thawed_by_buttons(browser, world, address):
    world.configure(FREE)
    enter(browser, world, address, "mia", "maintainer")
    world.push("The first version")
    see(browser, "The first version")
    press(browser, "Freeze…", within=".card:nth-child(2)")
    see(browser, "No push and no deploy enters live")
    write(browser, "reason", "a launch")
    press(browser, "Freeze live", within="main form")
    see(browser, "live is frozen: a launch (by mia)")
    world.push("The second version")
    assert world.serving() == {"dev": 2, "live": 1}
    see(browser, "hello#2 waits before live")
    press(browser, "Thaw…", within=".card:nth-child(2)")
    see(browser, "hello#2 (r2) goes on within seconds")
    write(browser, "reason", "launched")
    press(browser, "Thaw live", within="main form")
    see(browser, "hello#2")
    world.jobs.opening.run()
    carry(world, lambda: world.serving()["live"] == 2)


def test_two_people_approve_by_buttons_and_one_withdraws_in_between(browser, world, address):
    world.configure(TWO)
    world.push("The first version")
    enter(browser, world, address, "ben")
    see(browser, "0 of 2 approvals")
    press(browser, "Approve r1 for live")
    press(browser, "Approve r1 for live", within="main form")
    see(browser, "1 of 2 approvals (ben)")
    assert "Approve" not in page(browser), "it would not count"
    press(browser, "Withdraw approval")
    see(browser, "Your approval of r1 for live no longer counts.")
    write(browser, "reason", "a bug")
    press(browser, "Withdraw it", within="main form")
    see(browser, "0 of 2 approvals")
    assert reason_of(world, "withdraw") == ("ben", "a bug")
    press(browser, "Approve r1 for live")
    press(browser, "Approve r1 for live", within="main form")
    see(browser, "1 of 2 approvals (ben)")
    enter(browser, world, address, "cat")
    press(browser, "Approve r1 for live")
    press(browser, "Approve r1 for live", within="main form")
    carry(world, lambda: world.serving()["live"] == 1)
    assert world.run(1).promoted == ("live",)


def test_a_release_from_quarantine_has_a_reason_and_timings_are_one_press_away(browser, world, address):
    world.configure(FREE)
    for text in ("The first version", "The second version"):
        world.push(text)
    world.revert(reason="slow")
    enter(browser, world, address, "mia", "maintainer")
    see(browser, "Quarantined: r2")
    patiently(lambda: browser.find_element(By.LINK_TEXT, "r2…").click())
    see(browser, "r2 is in quarantine in hello/live: slow.")
    write(browser, "reason", "the index is there")
    press(browser, "Release r2", within="main form")
    see(browser, "Held by ann")
    assert "Quarantined" not in page(browser)
    assert reason_of(world, "unquarantine") == ("mia", "the index is there")
    patiently(lambda: browser.find_element(By.LINK_TEXT, "timings").click())
    see(browser, "Timings of hello")
    see(browser, "1 of 2")
    see(browser, "2 of 2 within the budget of 5:00 (100 %)")
