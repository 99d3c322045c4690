"""Nothing that reaches an annotator's browser says which explanation is which: words, sizes, headers, order.

First every page, picture and header of a whole participation is searched for what must not be there. Then somebody
who sees only what a browser gets tries to learn the side of the second condition, and may not do better than chance.
"""

import io
import json
import math
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from django.test import Client
from PIL import Image as Pillow

from annotation.api.pictures import canvas_size
from annotation.models import Assignment, Stimulus, Study
from annotation.publishing import Group, TrialItem, add_trials, publish
from mlcore.exchange import render
from tests.annotation import factories as make
from tests.bots.page import Page
from tests.bots.world import CONSENT, EXIT, INTRODUCTION

pytestmark = pytest.mark.django_db

PLAN = {
    "introduction": INTRODUCTION,
    "exit": EXIT,
    "people": {"accounts": True},
    "completion": {"codes": {"completed": "DONE-1"}},
}
TELLING_HEADERS = {"last-modified", "etag", "content-disposition", "server-timing", "x-accel-redirect"}
# What names a thing of the study's inside, whatever it is called in this one.
INNER_WORDS = ("slot", "condition", "explanation", "stimul", "arm", "classifier", "grad_cam", ".npz")


def two_kinds_of_map(shown: list[Any]) -> list[Any]:
    """A smooth set and a noisy one: their files would have very different lengths."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:8, 0:12]
    smooth = np.stack([np.exp(-((rows - 3) ** 2 + (columns - rng.uniform(2, 9)) ** 2) / 9) for _ in shown])
    noisy = rng.random((len(shown), 8, 12))
    return [
        make.explain(shown, maps=smooth, classifier__name="Clandestine-Alpha", method="hidden_way_one", layer="deep.9"),
        make.explain(shown, maps=noisy, classifier__name="Clandestine-Beta", method="hidden_way_two", layer="deep.7"),
    ]


def blind_study(kind: str, number: int, *, around: bool = True) -> Study:
    image_set = make.ImageSetFactory()
    shown = [make.ImageFactory(image_set=image_set, label=1, name=f"undisclosed/{i:04}.png") for i in range(number)]
    sets = two_kinds_of_map(shown)
    values: dict[str, Any] = {"conditions": "together"} if kind == "reasonability" else {"conditions": "within"}
    if kind == "preference":
        values["groups"] = [Group("Covert pair", tuple(sets))]
    else:
        values["explanation_sets"] = sets
    owner = make.researcher(username="the-researcher")
    make_it = make.preferences if kind == "preference" else make.ratings
    study = make_it(
        images=shown, k=None, live=False, owner=owner, name="Alpha against Beta", title="Maps", plan=PLAN,
        consent=CONSENT if around else "", **values,
    )  # fmt: skip
    if around:
        gold = {"choice": "first"} if kind == "preference" else {"necessary": "yes"}
        add_trials(study, owner, "practice", [TrialItem(shown[0], gold=gold)])
        add_trials(study, owner, "check", [TrialItem(shown[1], gold=gold, instruction="Please look well.")])
    return publish(study, owner)


def secrets_of(study: Study) -> set[str]:
    """Every word that would give something away, in small letters."""
    words = {
        "clandestine",
        "hidden_way",
        "deep.9",
        "deep.7",
        "covert",
        "undisclosed",
        "the-researcher",
        "alpha",
        "beta",
    }
    for stimulus in Stimulus.objects.filter(trial__study=study).select_related("explanation__set__classifier"):
        explanation = stimulus.explanation
        words |= {stimulus.condition.lower(), str(stimulus.uuid), str(explanation.uuid), str(explanation.set.uuid)}
        words |= {str(explanation.set.classifier.uuid), explanation.set.hash}
    words |= {str(image.uuid) for image in study.image_set.images.all()}
    return words


@dataclass
class Visitor:
    """A participant; `seen` is everything that was sent to them."""

    study: Study
    client: Client = field(default_factory=Client)
    seen: list[tuple[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.user = make.annotator()
        self.client.force_login(self.user)

    def get(self, path: str) -> Any:
        reply = self.client.get(path)
        self.seen.append((path, reply))
        return self.get(reply.headers["Location"]) if reply.status_code == 302 else reply

    def post(self, path: str, values: dict[str, Any]) -> Any:
        reply = self.client.post(path, values)
        self.seen.append((path, reply))
        return self.get(reply.headers["Location"]) if reply.status_code == 302 else reply

    def open(self) -> tuple[Page, str, Assignment]:
        """The trial in hand as the browser gets it, and its row, which only the test knows."""
        reply = self.get(f"/studies/{self.study.uuid}/")
        html = reply.content.decode()
        page = Page.read(html, "")
        assert page.trial is not None
        return page, html, Assignment.objects.get(uuid=page.trial["uuid"])

    def answer(self, page: Page) -> dict[str, Any]:
        assert page.trial is not None
        payload: dict[str, Any] = {"choice": "a"}
        if self.study.kind == "reasonability":
            one = {"necessary": True, "unnecessary": False, "quality": 3}
            payload = {"maps": [{"position": place, **one} for place in range(len(page.trial["urls"]["maps"]))]}
        said = {"submission": str(uuid.uuid4()), "payload": json.dumps(payload), "duration_ms": 900}
        reply = self.post(page.trial["urls"]["answer"], said)
        assert reply.status_code == 200, reply.content
        return reply.json()


def crawl(study: Study) -> Visitor:
    """A whole participation: every page, picture and answer of it."""
    visitor, here = Visitor(study), f"/studies/{study.uuid}/"
    visitor.get("/")
    visitor.get(here)
    visitor.post(f"{here}consent/", {"consent": "yes"})
    visitor.get(f"{here}introduction/?page=2")
    visitor.post(f"{here}introduction/", {})
    while Assignment.objects.filter(participant__user=visitor.user, state="open").exists():
        page, _, row = visitor.open()
        urls = page.trial["urls"]
        for url in [urls["picture"], *urls["maps"], f"/trials/{row.uuid}/thumbnail/", urls["draft"], here + "stop/"]:
            assert visitor.get(url).status_code == 200
        for url in visitor.get(urls["ahead"]).json()["pictures"]:
            assert visitor.get(url).status_code == 200
        visitor.answer(page)
        visitor.get(f"/trials/{row.uuid}/")  # once more, with what was answered
    visitor.get(f"{here}answers/")
    visitor.get(f"{here}questions/")
    visitor.post(f"{here}questions/", {"age": "34", "easy": "4", "device": "a screen"})
    visitor.get(f"{here}end/")
    visitor.get("/")
    return visitor


@pytest.mark.parametrize("kind", ["preference", "reasonability"])
def test_no_page_picture_or_header_names_what_is_hidden(kind):
    study = blind_study(kind, 4)
    visitor = crawl(study)
    hidden = secrets_of(study)
    assert len(visitor.seen) > 40
    assert any("/end/" in path for path, _ in visitor.seen)
    for path, reply in visitor.seen:
        headers = "\n".join(f"{name}: {value}" for name, value in reply.headers.items())
        sent = (path + "\n" + headers).lower() + "\n" + reply.content.decode("latin-1").lower()
        found = sorted(word for word in hidden if word in sent)
        assert not found, f"{path} says {found}"
        assert not {name.lower() for name in reply.headers} & TELLING_HEADERS, f"{path}: {headers}"


@pytest.mark.parametrize("kind", ["preference", "reasonability"])
def test_the_page_of_a_trial_speaks_of_places_and_never_of_the_inside(kind):
    visitor = Visitor(blind_study(kind, 4, around=False))
    visitor.post(f"/studies/{visitor.study.uuid}/introduction/", {})
    visitor.get(f"/studies/{visitor.study.uuid}/")
    visitor.post(f"/studies/{visitor.study.uuid}/introduction/", {})
    page, html, _ = visitor.open()
    keys = set(re.findall(r'"(\w+)":', json.dumps(page.trial)))
    assert not {word for word in INNER_WORDS if any(key.startswith(word) for key in keys)}
    names = re.findall(r'(?:name|id|class|data-[a-z]+)="([^"]*)"', html)
    assert not {word for word in INNER_WORDS if word != "arm" and any(word in name for name in names)}


def test_pictures_of_a_trial_have_one_size_and_one_length_and_say_no_more():
    study = blind_study("preference", 4, around=False)
    lengths = set()
    for trial in study.trials.all():
        visitor = Visitor(study)
        visitor.client.force_login(visitor.user)
        visitor.get(f"/studies/{study.uuid}/")
        replies = [visitor.get(f"/pictures/{one.picture}/") for one in trial.stimuli.all()]
        assert len({len(reply.content) for reply in replies}) == 1
        assert len({json.dumps(sorted(reply.headers.items())) for reply in replies}) == 1
        opened = [Pillow.open(io.BytesIO(reply.content)) for reply in replies]
        assert len({(one.size, one.mode, one.format, json.dumps(one.info, default=str)) for one in opened}) == 1
        assert opened[0].size == canvas_size(trial.image)
        lengths.add(len(replies[0].content))
        bare = [len(render.map_png(one.explanation, size=opened[0].size)) for one in trial.stimuli.all()]
        assert max(bare) > 1.5 * min(bare), "Without padding their lengths would tell them apart."
    assert all(length % 4096 == 0 for length in lengths)


# --- somebody who tries -----------------------------------------------------------------------------------------------


def features(html: str, page: Page, ahead: list[str], replies: list[Any]) -> list[float]:
    """All that a browser gets of the two maps but their pixels: first of the left one, then of the right one."""
    assert page.trial is not None
    found: list[float] = []
    for url, reply in zip(page.trial["urls"]["maps"], replies, strict=True):
        name = url.rstrip("/").rpartition("/")[2]
        body = reply.content
        chunks = re.findall(rb"IHDR|IDAT|IEND|paDd", body)
        found += [int(digit, 16) for digit in name]
        found += [len(url), len(body), len(reply.headers), sum(len(str(pair)) for pair in reply.headers.items())]
        found += [html.find(name), html.count(name), ahead.index(url) if url in ahead else -1]
        found += [len(chunks), body[24], body[25], Pillow.open(io.BytesIO(body)).size[0]]
    left, right = page.trial["urls"]["maps"]
    return [*found, float(left < right)]


def learned(known: np.ndarray, sides: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Logistic regression by gradient descent, with a little weight decay: the sides of `asked`, 0 or 1."""
    mean, spread = known.mean(0), known.std(0) + 1e-9
    rows, weights, bias = (known - mean) / spread, np.zeros(known.shape[1]), 0.0
    for _ in range(400):
        wrong = 1 / (1 + np.exp(-(rows @ weights + bias))) - sides
        weights -= 0.1 * (rows.T @ wrong / len(rows) + 0.02 * weights)
        bias -= 0.1 * float(wrong.mean())
    return ((asked - mean) / spread @ weights + bias > 0).astype(int)


def chance(number: int) -> float:
    """Half of the interval of 99.9 % around one half, for so many guesses."""
    return 3.2905 * math.sqrt(0.25 / number)


@pytest.mark.slow
def test_who_learns_from_sizes_headers_and_addresses_guesses_the_side_at_chance():
    study = blind_study("preference", 200, around=False)
    visitor = Visitor(study)
    visitor.get(f"/studies/{study.uuid}/")
    visitor.post(f"/studies/{study.uuid}/introduction/", {})
    rows, bare, sides, ahead = [], [], [], []
    for _ in range(200):
        visitor.seen.clear()
        page, html, row = visitor.open()
        replies = [visitor.get(url) for url in page.trial["urls"]["maps"]]
        rows.append(features(html, page, ahead, replies))
        sides.append(row.order.index(1))
        maps = {one.slot: one.explanation for one in row.trial.stimuli.select_related("explanation__set")}
        bare.append([len(render.map_png(maps[slot], size=(96, 64))) for slot in row.order])
        ahead = visitor.get(page.trial["urls"]["ahead"]).json()["pictures"]
        visitor.answer(page)
    table, told = np.array(rows, dtype=float), np.array(sides)
    cut = int(0.6 * len(table))
    assert abs(told.mean() - 0.5) <= chance(len(told))
    right = (learned(table[:cut], told[:cut], table[cut:]) == told[cut:]).mean()
    assert abs(right - 0.5) <= chance(len(told) - cut), f"{right:.0%} of the sides were guessed"
    # The same learner sees through it at once where lengths are not made equal.
    lengths = np.array(bare, dtype=float)
    assert (learned(lengths[:cut], told[:cut], lengths[cut:]) == told[cut:]).mean() > 0.95
