"""Scripted people go through a published team study in Chromium, every phase of it, key by key.

    HARMONY_VAR=... python -m bench.team_people STUDY [--people 12] [--seed 0] [--shots FOLDER]

Each is a participant of the kind "simulated" with a login of its own. They decide by the images' labels with stated
error rates: a right answer is rejected with probability --rejects, a wrong one accepted with --accepts, in training
and in the study; in the validation they err with --careless. The answer to an image in a condition follows from the
seed, the person, the image and the condition alone. The pages are served by this process.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from collections import Counter
from typing import Any

from bench.harmony_people import FLAGS, UUID, _served

# Playwright's own loop runs in this thread; Django would take that for an asynchronous context.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "harmony.settings")

READING = 500  # milliseconds; what training says takes no press for a moment
WAIT = 60_000


def main(arguments: list[str] | None = None) -> int:
    """Play, then print how each person ended and how many answered how much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="name or UUID")
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rejects", type=float, default=0.10, help="share of right answers that are rejected")
    parser.add_argument("--accepts", type=float, default=0.35, help="share of wrong answers that are accepted")
    parser.add_argument("--careless", type=float, default=0.05, help="share of errors in the validation")
    parser.add_argument("--shots", metavar="FOLDER", help="a picture of each phase of each condition")
    options = parser.parse_args(arguments)
    import django

    django.setup()
    from playwright.sync_api import sync_playwright

    from annotation.management.arguments import find_study

    study = find_study(options.study)
    began, answers = time.monotonic(), 0
    print(
        f"Simulated people: {options.rejects:.0%} of right answers rejected, {options.accepts:.0%} of wrong ones "
        f"accepted; {options.careless:.0%} errors in the validation."
    )
    with _served() as address, sync_playwright() as play:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = play.chromium.launch(executable_path=path, args=FLAGS, headless=True)
        for number in range(1, options.people + 1):
            given, outcome = play_through(browser, address, study, number, options)
            answers += given.total()
            said = ", ".join(f"{count} {phase}" for phase, count in given.items())
            print(f"scripted-{number}: {said or 'nothing'}; {outcome or 'goes on'}", flush=True)
        browser.close()
    print(f"{options.people} simulated people, {answers} answers in {time.monotonic() - began:.0f} s")
    return 0


def play_through(
    browser: Any, address: str, study: Any, number: int, options: argparse.Namespace
) -> tuple[Counter[str], str]:
    """One person's way to the end: answers by phase, and the outcome."""
    from annotation.models import Participant

    user = signed_up(study, number, options.seed)
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.add_cookies([session_of(user, address)])
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{address}/studies/{study.uuid}/")
    given: Counter[str] = Counter()
    while True:
        if "/trials/" in page.url:
            given[_answer(page, number, options)] += 1
        elif any(part in page.url for part in ("/introduction/", "/again/", "/consent/")):
            _shot(page, options, page.url.rstrip("/").rpartition("/")[2].split("?")[0])
            _press_on(page)
        else:
            break
    _shot(page, options, "end")
    if complaints:
        raise SystemExit(f"scripted-{number}: the page complained: {complaints[0]}")
    context.close()
    return given, Participant.objects.get(study=study, user=user).outcome


def signed_up(study: Any, number: int, seed: int) -> Any:
    """The login of the scripted person, who takes part in the study as one that is simulated."""
    from django.contrib.auth import get_user_model

    from annotation import people
    from annotation.entry import begin
    from annotation.models import Participant
    from annotation.models.studies import RANDOM_KEY_BITS

    name = f"scripted-{number}-{str(study.uuid)[:8]}"
    user, made = get_user_model().objects.get_or_create(username=name, defaults={"password": "!"})
    if made:
        people.add_annotator(name)
    if not Participant.objects.filter(study=study, user=user).exists():
        rng = random.Random(f"{seed}/{number}")
        begin(
            study, user=user, pseudonym=f"scripted-{number}", kind=Participant.Kind.SIMULATED,
            order_offset=rng.getrandbits(RANDOM_KEY_BITS),
        )  # fmt: skip
    return user


def session_of(user: Any, address: str) -> dict[str, Any]:
    from django.test import Client

    client = Client()
    client.force_login(user)
    return {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": address, "httpOnly": True}


def decides(right: bool, phase: str, key: str, options: argparse.Namespace) -> bool:
    """Whether this person accepts: correctly but for the stated rates. key: person, image and condition."""
    rate = options.careless if phase == "qualification" else options.rejects if right else options.accepts
    return right != (random.Random(f"{options.seed}/{key}").random() < rate)


def _answer(page: Any, number: int, options: argparse.Namespace) -> str:
    """Answer the trial that is open and go on; its phase."""
    from annotation.models import Assignment
    from annotation.studies import kind_of

    page.wait_for_selector("html[data-ready=yes]", timeout=WAIT)
    trial = Assignment.objects.select_related("trial__image", "trial__study", "trial__arm").get(
        uuid=UUID.findall(page.url)[0]
    )
    of = trial.trial
    known = (of.gold or {}).get("answer") or kind_of(of.study).known_gold(of)
    if known is None:
        raise SystemExit(f"Image {of.image.name} has no label, so nobody can say whether the AI is right.")
    _shot(page, options, f"{of.arm_id}-{of.phase}")
    accepts = decides(bool(known["accept"]), of.phase, f"{number}/{of.image.sha256}/{of.arm_id}", options)
    before = page.url
    page.keyboard.press("y" if accepts else "n")
    if of.phase == "practice":
        page.get_by_role("button", name="Next").wait_for(timeout=WAIT)
        _shot(page, options, f"{of.arm_id}-feedback")
        page.wait_for_timeout(READING)
        page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != before, timeout=WAIT)
    return str(of.phase)


def _press_on(page: Any) -> None:
    """The next page of the introduction, or on to what follows."""
    before = page.url
    button = page.locator("main .button.main")
    button.last.click()
    page.wait_for_url(lambda url: url != before, timeout=WAIT)


def _shot(page: Any, options: argparse.Namespace, name: str) -> None:
    """The first of each."""
    if options.shots and not os.path.exists(f"{options.shots}/{name}.png"):
        page.screenshot(path=f"{options.shots}/{name}.png")


if __name__ == "__main__":
    sys.exit(main())
