"""Scripted people answer a published preference study through its pages, in Chromium, key by key.

    HARMONY_VAR=... python -m bench.harmony_people STUDY [--people 10] [--trials 40] [--seed 0]

Each is a participant of the kind "simulated" with a login of its own. What they say follows from the true masks with
stated error rates (mlcore.exchange.scripted): the map with more of its mass on the object, neither where they differ by
little, and the wrong one now and then. The pages are served by this process; nobody else is told.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# Playwright's own loop runs in this thread; Django would take that for an asynchronous context.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "harmony.settings")

KEYS = {"a": "1", "neither": "2", "b": "3"}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def main(arguments: list[str] | None = None) -> int:
    """Play, then print how many answered how much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="name or UUID")
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--trials", type=int, default=1000, help="at most so many a person")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shots", metavar="FOLDER", help="a picture of each person's first trial")
    options = parser.parse_args(arguments)
    import django

    django.setup()
    from playwright.sync_api import sync_playwright

    from annotation.management.arguments import find_study

    study = find_study(options.study)
    began, answers = time.monotonic(), 0
    with _served() as address, sync_playwright() as play:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = play.chromium.launch(executable_path=path, args=FLAGS, headless=True)
        for number in range(1, options.people + 1):
            given = _person(browser, address, study, number, options)
            answers += given
            print(f"scripted-{number}: {given} answers", flush=True)
        browser.close()
    print(f"{options.people} people, {answers} answers in {time.monotonic() - began:.0f} s")
    return 0


@contextmanager
def _served() -> Iterator[str]:
    """The pages at a free port of this machine, by a process that ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
    command = [sys.executable, "manage.py", "runserver", f"{host}:{port}", "--noreload", "--insecure"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection((host, port), timeout=1):
                break
            time.sleep(0.2)
        yield f"http://{host}:{port}"
    finally:
        server.terminate()
        server.wait()


def _person(browser: Any, address: str, study: Any, number: int, options: argparse.Namespace) -> int:
    """One person's way through the study; how many answers that were."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    from annotation import people
    from annotation.entry import begin
    from annotation.models import Assignment, Participant
    from annotation.models.studies import RANDOM_KEY_BITS
    from annotation.simulation import ANSWERS
    from mlcore.exchange.scripted import ErrorRates, ScriptedAnnotator

    name = f"scripted-{number}-{str(study.uuid)[:8]}"
    user, made = get_user_model().objects.get_or_create(username=name, defaults={"password": "!"})
    if made:
        people.add_annotator(name)
    if not Participant.objects.filter(study=study, user=user).exists():
        rng = random.Random(f"{options.seed}/{number}")
        begin(
            study, user=user, pseudonym=f"scripted-{number}", kind=Participant.Kind.SIMULATED,
            order_offset=rng.getrandbits(RANDOM_KEY_BITS),
        )  # fmt: skip
    script = ScriptedAnnotator(seed=options.seed * 1_000_003 + number, rates=ErrorRates())
    client = Client()
    client.force_login(user)
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    session = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": address, "httpOnly": True}
    context.add_cookies([session])
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{address}/studies/{study.uuid}/")
    if "/introduction/" in page.url:
        page.locator("form button[type=submit]").last.click()
        page.wait_for_url("**/trials/**")
    given = 0
    while given < options.trials and "/trials/" in page.url:
        page.wait_for_selector("html[data-ready=yes]", timeout=30_000)
        trial = Assignment.objects.select_related("trial__image", "trial__study").get(uuid=UUID.findall(page.url)[0])
        if options.shots and given == 0:
            page.screenshot(path=f"{options.shots}/{name}.png")
        payload, _ = ANSWERS[study.kind](script, trial)
        before = page.url
        page.keyboard.press(KEYS[payload["choice"]])
        page.wait_for_url(lambda url, before=before: url != before, timeout=30_000)
        given += 1
    if complaints:
        raise SystemExit(f"{name}: the page complained: {complaints[0]}")
    context.close()
    return given


if __name__ == "__main__":
    sys.exit(main())
