"""A real server and the system's Chromium. Absent Chromium skips with the command that brings it; in CI it fails."""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Error as PlaywrightError

# Playwright's own loop runs in the test's thread; Django would take that for an asynchronous context.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = (
    "Chromium is not installed, so nothing of what people see is tried. Enable it: apt-get install chromium "
    "(or set CHROMIUM to a Chromium or Chrome executable)"
)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


# The browser itself, not the page: a crash, or a picture it could not take on a machine that has too much to do.
BROWSER_GAVE_UP = ["Protocol error", "Target crashed", "Target page, context or browser has been closed"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(os.path.dirname(__file__)):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.flaky(reruns=2, only_rerun=BROWSER_GAVE_UP))
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    if CHROMIUM is None:
        if os.environ.get("HARMONY_CI") == "1":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return {"executable_path": CHROMIUM, "args": FLAGS, "headless": True}


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    return {"viewport": {"width": 1100, "height": 760}, "locale": "en-GB", "reduced_motion": "reduce"}


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    """The slow hash is Django's, not ours to wait for in every test."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


class Person:
    """Someone at a browser of their own. Whatever the page complains about is collected in `complaints`."""

    def __init__(self, context: Any, address: str) -> None:
        self.context = context
        self.address = address
        self.complaints: list[str] = []
        self.expected: list[str] = []
        self.page = self.tab()

    def tab(self) -> Any:
        page = self.context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")

    @property
    def unexpected(self) -> list[str]:
        return [line for line in self.complaints if not any(re.search(known, line) for known in self.expected)]

    def open(self, path: str, page: Any = None) -> Any:
        page = page or self.page
        page.goto(self.address + path)
        return page

    def known_as(self, user: Any) -> None:
        """Signed in without the form, which has tests of its own."""
        client = Client()
        client.force_login(user)
        session = client.cookies["sessionid"].value
        self.context.add_cookies([{"name": "sessionid", "value": session, "url": self.address, "httpOnly": True}])

    def sign_in(self, username: str, password: str) -> Any:
        self.open("/login/")
        self.page.get_by_label("Name").fill(username)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(self.address + "/")
        return self.page

    def begin(self, study: Any, page: Any = None) -> Any:
        page = self.open(f"/studies/{study.uuid}/", page)
        return ready(page)

    def rest(self) -> None:
        """Waits until nothing is on its way to the database, which is emptied next."""
        for page in self.context.pages:
            with contextlib.suppress(PlaywrightError):
                page.wait_for_load_state("networkidle", timeout=3000)


def ready(page: Any) -> Any:
    """Waits until a trial's page takes answers."""
    page.wait_for_selector("html[data-ready=yes]")
    return page


@pytest.fixture
def person(live_server: Any, browser: Any, browser_context_args: dict[str, Any]) -> Iterator[Callable[..., Person]]:
    """Makes people; afterwards no page may have complained of anything that the test did not expect."""
    people: list[Person] = []

    def make(**options: Any) -> Person:
        made = Person(browser.new_context(**{**browser_context_args, **options}), live_server.url)
        people.append(made)
        return made

    yield make
    for one in people:
        one.rest()
    complaints = [line for one in people for line in one.unexpected]
    for one in people:
        one.context.close()
    assert complaints == []
