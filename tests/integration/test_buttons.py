"""The buttons of the page in a real browser, on the whole service: freeze, thaw, approve, withdraw, revert, and the
release from quarantine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

import docker
from tests.support.browser import log_in, page, patiently, press, see, write
from tests.support.developer import web
from tests.support.service import Service, running
from tests.support.waiting import until

pytest_plugins = ["tests.support.browser"]

CONFIG = """
pipelines:
  hello:
    service: {memory: 64MiB, stop: 1s}
    environments: {dev: , live: {bake: 0, promote: {manual: true, approvals: 2}}}
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def enter(browser: webdriver.Chrome, service: Service, name: str, role: str = "developer") -> None:
    """That person logs in."""
    token = service.ask("POST", "/api/tokens", {"name": name, "role": role, "expires": "1d"})["token"]
    browser.get(f"http://{service.listen}")
    browser.delete_all_cookies()
    log_in(browser, f"http://{service.listen}", token)


def confirm(
    browser: webdriver.Chrome, link: str, button: str, reason: str = "", within: str = "main"
) -> None:
    press(browser, link, within=within)
    if reason:
        write(browser, "reason", reason)
    press(browser, button, within="main form")


def test_people_press_their_buttons(browser: webdriver.Chrome, service: Service) -> None:
    service.push(web("version 1"), "One")
    for number, name in enumerate(("ben", "cat")):
        enter(browser, service, name)
        see(browser, f"{number} of 2 approvals")
        confirm(browser, "Approve r1", "Approve r1 for live")
    until(lambda: service.releases() == {"dev": 1, "live": 1}, 60)

    enter(browser, service, "mia", "maintainer")
    confirm(browser, "Freeze all", "Freeze all", "the exams")
    see(browser, "live is frozen: the exams (by mia)")
    service.push(web("version 2"), "Two")
    assert service.releases() == {"dev": 1, "live": 1}
    confirm(browser, "Thaw…", "Thaw dev", "only live has to wait", within=".card:nth-child(1)")
    until(lambda: service.releases()["dev"] == 2, 60)
    see(browser, "hello#2 waits before live", 20)
    confirm(browser, "Approve r2", "Approve r2 for live")
    see(browser, "1 of 2 approvals (mia)")
    service.pushlive("promote", "hello#2", "--no-wait", code=7)  # the second one: now it waits for the freeze
    until(lambda: service.run("hello#2")["frozen"], 30)

    browser.get(f"http://{service.listen}/runs/hello/2")
    confirm(browser, "Withdraw approval", "Withdraw it", "not before the exams")
    see(browser, "1 of 2 approvals (first)")
    browser.get(f"http://{service.listen}")
    confirm(browser, "Thaw all", "Thaw all", "they are over")
    see(browser, "1 of 2 approvals (first)")
    assert service.releases() == {"dev": 2, "live": 1}, "a thaw does not let in what a person has taken back"
    confirm(browser, "Approve r2", "Approve r2 for live")
    until(lambda: service.releases()["live"] == 2, 60)

    browser.get(f"http://{service.listen}")
    confirm(browser, "Revert to r1", "Revert live", "slow", within=".card:nth-child(2)")
    until(lambda: service.releases()["live"] == 1, 60)
    browser.get(f"http://{service.listen}")
    see(browser, "Quarantined: r2", 20)
    patiently(lambda: browser.find_element(By.LINK_TEXT, "r2…").click())
    write(browser, "reason", "the index is there")
    press(browser, "Release r2", within="main form")
    see(browser, "Held by mia")
    assert "Quarantined" not in page(browser)

    entries = service.ask("GET", "/api/audit?limit=100")["entries"]
    done = {(one["act"], one["who"], one["way"], one["why"]) for one in entries}
    for act, why in (
        ("freeze", "the exams"), ("thaw", "only live has to wait"), ("thaw", "they are over"),
        ("withdraw", "not before the exams"), ("unquarantine", "the index is there"),
    ):  # fmt: skip
        assert (act, "mia", "page", why) in done
