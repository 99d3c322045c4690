"""A visitor who reads German, and a study with every phase whose words are the researcher's own."""

import json
from typing import Any
from uuid import uuid4

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from annotation.models import Study
from annotation.publishing import TrialItem, add_trials, create_study, publish
from tests.annotation import factories as make
from tests.annotation.phased import Walker
from tests.harmony.german import foreign, is_german

GERMAN = {"accept-language": "de-AT,de;q=0.9,en;q=0.5"}
CODES = {"codes": {"completed": "D-1", "failed_checks": "F-2", "screened_out": "S-3"}}


def visitor(user: Any = None) -> Client:
    client = Client(headers=GERMAN)
    if user is not None:
        client.force_login(user)
    return client


class Guide(Walker):
    """Walks in German; every page that it reaches must be in German from head to foot."""

    def __init__(self, user: Any, study: Study) -> None:
        super().__init__(visitor(user), study)
        self.seen: list[str] = []

    def open(self, address: str | None = None) -> str:
        at = super().open(address)
        self._look()
        return at

    def send(self, address: str | None = None, **fields: Any) -> str:
        at = super().send(address, **fields)
        self._look()
        return at

    def _look(self) -> None:
        assert foreign(self.page) == [], self.at
        self.seen.append(self.place)


def phased(**options: Any) -> Study:
    """Ratings with every phase; all texts the researcher's own but the kind's standard questions."""
    images = make.images(3)
    plan = {
        "introduction": [{"title": "§Erstens", "text": "§Text"}, {"title": "", "text": "§Mehr"}],
        "qualification": {"pass_mark": 1.0, "tries": 2},
        "checks": {"allowed_misses": 0, "on_fail": "end"},
        "exit": [
            {"name": "age", "kind": "number", "question": "§Alter"},
            {"name": "how", "kind": "scale", "question": "§Wie"},
            {"name": "device", "kind": "choice", "question": "§Womit", "choices": ["§a", "§b"]},
            {"name": "glasses", "kind": "truth", "question": "§Brille", "required": False},
            {"name": "words", "kind": "text", "question": "§Noch", "required": False},
        ],
        "completion": {"text": "§Ende", "return_url": "https://example.org/back", **CODES},
    } | options.pop("plan", {})
    study = create_study(
        kind="reasonability", name=f"s {uuid4().hex[:8]}", title="§Titel", owner=None, image_set=images[0].image_set,
        images=images[:2], explanation_sets=[make.explain(images), make.explain(images)], consent="§Zustimmung",
        plan=plan, **options,
    )  # fmt: skip
    yes = {"necessary": "yes", "unnecessary": "no", "quality_at_least": 2}
    add_trials(study, None, "practice", [TrialItem(images[0], gold=yes), TrialItem(images[1], gold=yes)])
    add_trials(study, None, "qualification", [TrialItem(images[1], gold=yes)])
    add_trials(study, None, "check", [TrialItem(images[2], gold=yes, instruction="§Achtung")])
    return publish(study, None)


def judged(*, right: bool = True, maps: int = 2) -> dict[str, Any]:
    return {"maps": make.rating(maps, necessary=right, unnecessary=not right)["maps"]}


def send(guide: Walker, payload: Any, **more: Any) -> Any:
    body = {"submission": str(uuid4()), "payload": payload, "duration_ms": 900} | more
    return guide.client.post(guide.data["urls"]["answer"], json.dumps(body), content_type="application/json")


def answer(guide: Walker, payload: Any, **more: Any) -> dict[str, Any]:
    sent = send(guide, payload, **more)
    assert sent.status_code == 200, sent.content
    told = sent.json()
    if told["feedback"]:
        assert is_german(told["feedback"]["sentence"]), told["feedback"]
    guide.open(told["next"])
    return told


def text_of(response: Any) -> str:
    """A page's HTML; 400 is an address that a recruiting site cut short."""
    assert response.status_code in (200, 400), response
    return str(response.content.decode())


def as_file(data: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("drawing.png", data, "image/png")
