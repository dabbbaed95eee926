"""A real browser (Chromium, headless) that looks at the pages and presses their buttons. PYTEST_DONT_REWRITE"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.common.by import By

T = TypeVar("T")
SHY = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in SHY:
        options.add_argument(argument)
    one = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    one.set_page_load_timeout(30)
    yield one
    one.quit()


def patiently(act: Callable[[], T]) -> T:
    """Repeats the action if the page refreshes itself and removes the element meanwhile."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return act()
        except WebDriverException as error:
            gone = isinstance(error, (StaleElementReferenceException, NoSuchElementException))
            # ChromeDriver sometimes reports this for an element that was just removed.
            gone = gone or "does not belong to the document" in str(error)
            if not gone or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def press(browser: webdriver.Chrome, text: str, within: str = "body") -> None:
    """The button or link whose text begins so."""

    def once() -> None:
        for one in browser.find_elements(By.CSS_SELECTOR, f"{within} a.button, {within} button"):
            if one.text.startswith(text):
                one.click()
                return
        raise NoSuchElementException(f"no button {text!r} in:\n{page(browser)}")

    patiently(once)


def log_in(browser: webdriver.Chrome, address: str, token: str) -> None:
    browser.get(address)
    patiently(lambda: browser.find_element(By.CSS_SELECTOR, "input[type=password]").send_keys(token))
    press(browser, "Log in")


def page(browser: webdriver.Chrome) -> str:
    return patiently(lambda: browser.find_element(By.TAG_NAME, "main").text)


def see(browser: webdriver.Chrome, text: str, seconds: float = 10) -> None:
    """Waits until the page, which refreshes itself, shows the text."""
    deadline = time.monotonic() + seconds
    while text not in page(browser):
        assert time.monotonic() < deadline, f"{text!r} is not in:\n{page(browser)}"
        time.sleep(0.05)


def write(browser: webdriver.Chrome, field: str, text: str) -> None:
    patiently(lambda: browser.find_element(By.NAME, field).send_keys(text))
