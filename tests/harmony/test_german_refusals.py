"""What the server refuses, it refuses in the reader's language."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from annotation.models import Assignment, Study
from annotation.publishing import close
from tests.annotation import factories as make
from tests.annotation.phased import Walker
from tests.harmony.german import is_german
from tests.harmony.german_walk import as_file, judged, send, visitor

pytestmark = pytest.mark.django_db


def test_refused_answers_are_refused_in_german() -> None:
    tried = 0
    cases: list[tuple[Study, list[Any]]] = [
        (make.ratings(1, sets=2), [
            {}, [], {"maps": []}, {"maps": make.rating(1)["maps"]}, {"maps": make.rating(1)["maps"] * 2},
            {"maps": [{"position": 0, "necessary": "x", "unnecessary": None, "quality": 9}]},
        ]),
        (make.drawings(1), [{}, {"nothing": 3}]),
        (make.preferences(1), [{}, {"choice": "x"}]),
        (make.preferences(1, settings={"neither": False}), [{}]),
        (make.preferences(1, settings={"form": "slider", "neither": False}), [{}, {"preference": 0}]),
        (make.team(1, settings={"own_confidence": "scale"}), [{}, {"accept": True, "confidence": 8}]),
    ]  # fmt: skip
    for study, payloads in cases:
        guide = Walker(visitor(make.annotator()), study)
        guide.open()
        for payload in payloads:
            tried += _refused(send(guide, payload), 400)
        for more in (
            {"duration_ms": -1},
            {"submission": "x"},
            {"duration_ms": "x"},
            {"events": 3},
            {"base_revision": "?"},
        ):
            tried += _refused(send(guide, payloads[0], **more), 400)
    assert tried > 40


def _refused(sent: Any, status: int) -> int:
    """The sentences that came are German: the project's own, or Django's and REST framework's."""
    assert sent.status_code == status, sent.content
    said = sent.json()
    sentences = list(said["errors"].values()) if status == 400 else [said["sentence"]]
    assert sentences
    for sentence in sentences:
        assert is_german(sentence) or sentence in FOREIGN_BUT_GERMAN, sentence
    return len(sentences)


# Sentences of REST framework's own German catalogue.
FOREIGN_BUT_GERMAN = {
    "Dieses Feld ist zwingend erforderlich.",
    "Eine gültige Ganzzahl ist erforderlich.",
    "Stelle sicher, dass dieser Wert größer oder gleich 0 ist.",
    'Es wurde eine Liste von Elementen erwartet, aber der Typ "dict" gefunden.',
    "Ungültige Daten. Dictionary erwartet, aber list erhalten.",
    "Muss eine gültige UUID sein.",
    "Dieses Feld darf nicht leer sein.",
}


def test_conflicts_and_lost_places_are_told_in_german() -> None:
    study = make.ratings(2, k=1, title="§Titel")
    guide = Walker(visitor(make.annotator()), study)
    guide.open()
    held = guide.data
    assert send(guide, judged(maps=1)).status_code == 200
    _refused(send(guide, judged(maps=1)), 409)
    guide.open()
    Assignment.objects.filter(state="open").update(lease_until=timezone.now() - timedelta(hours=1))
    other = Walker(visitor(make.annotator()), study)
    other.open()
    other.answer()
    _refused(send(guide, judged(maps=1)), 409)
    Assignment.objects.filter(uuid=held["uuid"]).update(state="set_aside")
    address = held["urls"]["answer"]
    body = json.dumps({"submission": str(uuid4()), "payload": judged(maps=1), "base_revision": 1})
    _refused(guide.client.post(address, body, content_type="application/json"), 410)
    close(study, None)
    _refused(guide.client.post(address, body, content_type="application/json"), 410)


def test_refused_drafts_and_drawings_are_refused_in_german() -> None:
    study = make.drawings(1)
    guide = Walker(visitor(make.annotator()), study)
    guide.open()
    for payload in ([1], {"long": "x" * (1 << 20)}):
        sent = guide.client.put(
            guide.data["urls"]["draft"], json.dumps({"payload": payload}), content_type="application/json"
        )
        _refused(sent, 400)
    for data in (b"no picture", make.drawing(2, 5, 5)):
        multipart = {"submission": str(uuid4()), "payload": "{}", "drawing": as_file(data)}
        _refused(guide.client.post(guide.data["urls"]["answer"], multipart), 400)
