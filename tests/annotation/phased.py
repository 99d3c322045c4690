"""A study with every phase, and a person who walks through it by the pages alone."""

import json
import re
from html import unescape
from typing import Any
from uuid import uuid4

from django.test import Client
from django.urls import reverse

from annotation.models import Assignment, Participant, Study
from annotation.publishing import TrialItem, add_trials, create_study, publish

PAGES = ["study-consent", "study-introduction", "study-again", "study-exit", "study-end", "study"]
CONSENT = "We ask you to look at **pictures**. You may stop at any time."
INTRODUCTION = [
    {"title": "What you see", "text": "A picture, and what a model looked at."},
    {"title": "What you do", "text": "Say whether that is *reasonable*.\n\n![A scene](picture:scene)"},
]
EXIT = [
    {"name": "age", "kind": "number", "question": "How old are you?", "required": True},
    {"name": "how", "kind": "scale", "question": "Was it easy?", "required": True},
    {"name": "device", "kind": "choice", "question": "On what did you work?", "choices": ["a telephone", "a screen"]},
    {"name": "glasses", "kind": "truth", "question": "Do you wear glasses?", "required": False},
    {"name": "words", "kind": "text", "question": "Anything else?", "required": False},
]
CODES = {"completed": "DONE-1", "failed_checks": "CHECK-2", "screened_out": "OUT-3"}
YES = {"necessary": "yes", "unnecessary": "no"}


def phased_study(
    world: Any,
    *,
    practice: int = 1,
    qualification: int = 2,
    checks: int = 0,
    live: bool = True,
    consent: str = CONSENT,
    plan: dict[str, Any] | None = None,
    **options: Any,
) -> Study:
    """Reasonability of one map; the right answer of every graded trial is yes, no, any quality."""
    whole = {
        "introduction": INTRODUCTION,
        "qualification": {"pass_mark": 1.0, "tries": 2},
        "exit": EXIT,
        "completion": {"text": "You helped **much**.", "codes": CODES},
    } | (plan or {})
    study = create_study(
        kind="reasonability",
        name=f"phased {uuid4().hex[:6]}",
        title="Where does it look?",
        task="Say whether it is reasonable.",
        owner=options.pop("owner", None),
        image_set=world.image_set,
        images=options.pop("images", world.images[:2]),
        explanation_sets=world.sets[:1],
        plan=whole,
        consent=consent,
        **options,
    )
    for phase, number in (("practice", practice), ("qualification", qualification), ("check", checks)):
        instruction = "Answer yes and no here." if phase == "check" else ""
        items = [TrialItem(world.images[n], gold=YES, instruction=instruction) for n in range(number)]
        if items:
            add_trials(study, None, phase, items)
    return publish(study, None) if live else study


class Walker:
    """Someone with Django's client who does what the pages offer. `at` is the address of the page they see."""

    def __init__(self, client: Any, study: Study) -> None:
        self.client, self.study = client, study
        self.at, self.page = "", ""

    def open(self, address: str | None = None) -> str:
        answer = self.client.get(address or reverse("study", args=[self.study.uuid]), follow=True)
        assert answer.status_code == 200, (address, answer.status_code)
        self.at = answer.request["PATH_INFO"]
        self.page = unescape(answer.content.decode())
        return self.at

    def send(self, address: str | None = None, **fields: Any) -> str:
        answer = self.client.post(address or self.at, fields, follow=True)
        assert answer.status_code == 200
        self.at = answer.request["PATH_INFO"]
        self.page = unescape(answer.content.decode())
        return self.at

    @property
    def place(self) -> str:
        """Which page this is: consent, introduction, again, questions, end, trial."""
        return "trial" if self.at.startswith("/trials/") else self.at.rstrip("/").rsplit("/", 1)[-1]

    @property
    def data(self) -> dict[str, Any]:
        found = re.search(r'<script id="trial" type="application/json">(.*?)</script>', self.page, re.DOTALL)
        assert found is not None
        return json.loads(found[1])

    def answer(self, *, right: bool = True, quality: int = 4) -> dict[str, Any]:
        """Answers the trial on the page and goes on; what the server acknowledged."""
        judged = {"position": 0, "necessary": right, "unnecessary": not right, "quality": quality}
        body = {"submission": str(uuid4()), "payload": {"maps": [judged]}, "duration_ms": 900}
        sent = self.client.post(self.data["urls"]["answer"], json.dumps(body), content_type="application/json")
        assert sent.status_code == 200, sent.content
        said = sent.json()
        self.open(said["next"])
        return said

    def to(self, place: str) -> "Walker":
        """Walks on, always right, until that page; `main` is the first trial of the main phase."""
        self.open()
        for _ in range(60):
            if place == self.place or (self.place == "trial" and self.data["phase"] == place):
                return self
            self.step()
        raise AssertionError(f"{place} was not reached; stopped at {self.at}")

    def step(self) -> None:
        if self.place == "consent":
            self.send(consent="yes")
        elif self.place == "introduction" or self.place == "again":
            self.send()
        elif self.place == "trial":
            self.answer()
        elif self.place == "questions":
            self.send(age="31", how="5", device="a screen")
        else:
            raise AssertionError(f"There is nothing to do at {self.at}")

    @property
    def assignment(self) -> Assignment:
        return Assignment.objects.get(uuid=self.data["uuid"])


def walker(user, study):
    client = Client()
    client.force_login(user)
    return Walker(client, study)


def person(study):
    return Participant.objects.get(study=study)


def person_of(walking, study):
    return Participant.objects.get(study=study, user_id=walking.client.session["_auth_user_id"])
