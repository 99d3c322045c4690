"""A person who plays a whole study by its pages alone, and remembers everything that the server acknowledged."""

import io
import random
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image as Pillow

from tests.bots.browser import Browser, Line, Reply
from tests.bots.page import Field, Form, Page, payload_of

MOST_STEPS = 400
# Trials that are held against a right answer, as their pages name the phase or by what stands on top of them.
GRADED = ("practice", "qualification")


@dataclass
class Manner:
    """How somebody answers. `wrong_tries`: qualification tries answered wrongly; `misses`: checks answered wrongly.

    `twice`: share of answers sent from two threads at once; `looks`: share of trials whose pictures are fetched.
    """

    agrees: bool = True
    wrong_tries: int = 0
    misses: int = 0
    wrong_practice: bool = False
    twice: float = 0.0
    looks: float = 1.0


@dataclass
class Acknowledged:
    """One answer as it was sent, and what the server said to it."""

    assignment: str
    submission: str
    payload: dict[str, Any]
    phase: str
    check: bool
    answer: str
    feedback: dict[str, Any] | None


@dataclass
class Bot:
    browser: Browser
    rng: random.Random
    manner: Manner = field(default_factory=Manner)
    answers: list[Acknowledged] = field(default_factory=list)
    path: list[str] = field(default_factory=list)  # what kinds of pages were met
    code: str = ""
    heading: str = ""
    tries: int = 0
    missed: int = 0

    @classmethod
    def make(cls, server: str, seed: str, line: Line | None = None, **manner: Any) -> "Bot":
        return cls(Browser(server, line, seed), random.Random(f"{seed}/person"), Manner(**manner))

    # --- the way ----------------------------------------------------------------------------------------------------

    def join(self, link: str) -> Page:
        """In by an open link, an invitation or Prolific's address: the page before the study, its form, its button."""
        page = self.browser.get(link).page()
        form = page.posts()[0]
        values = form.hidden() | {one.name: "Robin" for one in form.open()}
        # A visitor without a login who sends this twice is two visitors; recruiting ids and links tell them apart.
        known = "nickname" not in form.fields
        self.path.append("join")
        reply = self.browser.post(form.action, values, may_cut=known)
        assert reply.status == 200, reply.body[:500]
        return reply.page()

    def play(self, page: Page, *, steps: int = MOST_STEPS) -> "Bot":
        """Whatever the pages ask, until the end. Stops after `steps` pages."""
        for _ in range(steps):
            ended, page = self.step(page)
            if ended:
                return self
        return self

    def step(self, page: Page) -> tuple[bool, Page]:
        """One page answered; whether it was the last, and the page that follows."""
        place = _place(page)
        if place == "trial":
            self.path.append(f"trial:{page.trial['phase'] if page.trial else ''}")
            return False, self.trial(page)
        self.path.append(place)
        if place == "end":
            return self._end(page)
        if place == "introduction":
            further = _next_page(page)
            if further:
                return False, self.browser.get(further).page()
        form = page.posts()[0]
        values = form.hidden()
        if place == "consent":
            values["consent"] = "yes" if self.manner.agrees else "no"
            assert ("consent", values["consent"]) in form.buttons
        elif place == "questions":
            values |= {one.name: self._said(one) for one in form.open() if not one.optional or self.rng.random() < 0.5}
        elif place == "again":
            self.tries += 1
        return False, self.browser.post(form.action or page.address.partition("?")[0], values).page()

    def _end(self, page: Page) -> tuple[bool, Page]:
        self.code, self.heading = page.texts.get("code", "").strip(), page.heading.strip()
        if "just now" not in self.heading:
            return True, page
        # Others hold the last ones: look in again, as the page says.
        time.sleep(0.2)
        return False, self.browser.get(re.sub(r"end/$", "", page.address)).page()

    def _said(self, one: Field) -> str:
        if one.options:
            return self.rng.choice([option for option in one.options if option])
        return "34" if one.data.get("kind") == "number" else "Nothing else."

    # --- a trial ----------------------------------------------------------------------------------------------------

    def trial(self, page: Page) -> Page:
        """Looks, answers, and goes where the acknowledgement says."""
        said = page.trial
        assert said is not None
        self.look(said)
        payload, drawing = self.answer_to(page)
        parts = self.parts(payload)
        reply = self.deliver(said["urls"]["answer"], page.csrf, parts, drawing)
        assert reply.status == 200, (reply.status, reply.body[:500], payload)
        told = reply.data()
        self.answers.append(
            Acknowledged(
                said["uuid"], parts["submission"], payload, said["phase"], bool(said["instruction"]),
                told["answer"], told["feedback"],
            )
        )  # fmt: skip
        return self.browser.get(told["next"]).page()

    def parts(self, payload: Any) -> dict[str, Any]:
        return {
            "submission": str(uuid.UUID(int=self.rng.getrandbits(128), version=4)),
            "payload": payload,
            "duration_ms": self.rng.randrange(800, 60_000),
            "events": [[0, "shown"], [640, "input"], [900, "send"]],
            "base_revision": 0,
        }

    def deliver(self, path: str, csrf: str, parts: dict[str, Any], drawing: bytes | None = None) -> Reply:
        """An answer, on a line that may be cut, sometimes from two windows at once."""
        started = time.perf_counter()
        if self.rng.random() < self.manner.twice:
            first, second = self.browser.twice(path, csrf, parts, drawing)
            assert (first.status, second.status) == (200, 200), (first.body[:300], second.body[:300])
            assert first.data()["answer"] == second.data()["answer"]
            assert first.data()["revision"] == second.data()["revision"]
            assert first.data()["repeated"] or second.data()["repeated"]
            reply = first
        else:
            reply = self.browser.multipart(path, csrf, parts, drawing)
        with self.browser.line.lock:
            self.browser.line.answers.append(time.perf_counter() - started)
        return reply

    def look(self, said: dict[str, Any]) -> None:
        """The picture and the maps, as the page would load them."""
        if self.rng.random() >= self.manner.looks:
            return
        for url in [said["urls"]["picture"], *[one for one in said["urls"]["maps"] if one]]:
            reply = self.browser.get(url)
            assert reply.status == 200, (url, reply.status)
            Pillow.open(io.BytesIO(reply.body)).verify()

    def answer_to(self, page: Page) -> tuple[dict[str, Any], bytes | None]:
        form = page.form("answer-form")
        if form is None or not form.open():
            return self.draw(page)
        graded = page.trial is not None and (page.trial["phase"] in GRADED or bool(page.trial["instruction"]))
        values = self.right(page, form) if graded else {}
        if graded and not self._does_right(page):
            values = self._turned(form, values)
        chosen = {one.name: self.rng.choice(one.options) for one in form.open() if one.options} | values
        return payload_of(form, chosen), None

    def _does_right(self, page: Page) -> bool:
        assert page.trial is not None
        if page.trial["phase"] == "practice":
            return not self.manner.wrong_practice
        if page.trial["phase"] == "qualification":
            return self.tries >= self.manner.wrong_tries
        if self.missed < self.manner.misses:
            self.missed += 1
            return False
        return True

    def right(self, page: Page, form: Form) -> dict[str, str]:
        """What the instruction on top of the trial asks for, or what the maps themselves show.

        Instructions read “name: value; name: value”; of two maps the one that is brighter on the left is the right one.
        """
        assert page.trial is not None
        asked = dict(re.findall(r"(\w+): (-?\w+)", page.trial["instruction"]))
        values = {}
        for one in form.open():
            last = one.name.rpartition(".")[2]
            if last in asked:
                values[one.name] = asked[last]
        if "choice" in form.fields and not values:
            values["choice"] = "ab"[int(np.argmax([self._leftness(url) for url in page.trial["urls"]["maps"]]))]
        assert values, f"This trial does not say what is right: {page.trial['instruction']}"
        return values

    def _leftness(self, url: str) -> float:
        with Pillow.open(io.BytesIO(self.browser.get(url).body)) as opened:
            grey = np.asarray(opened.convert("L"), dtype=float)
        return float(grey[:, : grey.shape[1] // 2].mean() - grey[:, grey.shape[1] // 2 :].mean())

    def _turned(self, form: Form, values: dict[str, str]) -> dict[str, str]:
        """Every value that was right, replaced by the first other one."""
        return {name: next(one for one in form.fields[name].options if one != right) for name, right in values.items()}

    def draw(self, page: Page) -> tuple[dict[str, Any], bytes | None]:
        """A map of the picture's size, one bit a pixel; now and then there is nothing to mark."""
        assert page.trial is not None
        assert "nothing" in page.loose, "A page without a form is one to draw on."
        if self.rng.random() < 0.2:
            return {"strokes": [], "nothing": True}, None
        size = page.trial["image"]["width"], page.trial["image"]["height"]
        return {"strokes": [], "nothing": False}, painted(*size, self.rng.randint(1, max(1, size[0] - 1)))


def painted(width: int, height: int, columns: int) -> bytes:
    """A PNG of one bit a pixel, white (painted) in the first `columns`."""
    pixels = np.zeros((height, width), dtype=bool)
    pixels[:, :columns] = True
    out = io.BytesIO()
    Pillow.fromarray(pixels).save(out, "PNG", bits=1)
    return out.getvalue()


def _place(page: Page) -> str:
    if page.trial is not None:
        return "trial"
    return page.address.partition("?")[0].rstrip("/").rpartition("/")[2]


def _next_page(page: Page) -> str:
    """The next page of the introduction, where the form leads to one instead of ending it."""
    form = page.posts()[0]
    if form.buttons:
        return ""
    numbers = {int(link.rpartition("=")[2]): link for link in form.links}
    return page.address.partition("?")[0] + numbers[max(numbers)]
