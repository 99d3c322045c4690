"""Every page on the way through a study, in German: nothing of it is English but a researcher's own words.

What researchers and people wrote begins with § in these studies.
"""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils import timezone, translation

from annotation.models import Assignment, Participant, Study
from annotation.pages.ends import ENDS
from annotation.publishing import TrialItem, add_trials, close, publish, revise
from annotation.studies.trials import Group
from mlcore.models import ImageLabel
from tests.annotation import factories as make
from tests.harmony.german_walk import CODES, Guide, answer, as_file, judged, phased

pytestmark = pytest.mark.django_db


# --- the way through a study ------------------------------------------------------------------------------------------


def test_the_whole_way() -> None:
    study = phased()
    guide = Guide(make.annotator(), study)
    assert guide.open().endswith("/consent/")
    guide.send(consent="yes")
    guide.open(guide.at + "?page=2")
    guide.send()
    assert guide.data["phase"] == "practice"
    assert answer(guide, judged())["feedback"]["sentence"].startswith("Richtig: der Fokus enthält")
    assert answer(guide, judged(right=False))["feedback"]["sentence"].startswith("Erwartet war: der Fokus enthält")
    assert "Vorprüfung 1\xa0von\xa01" in guide.page
    answer(guide, judged(right=False))
    assert guide.place == "again"
    guide.send()
    while guide.place == "trial":
        answer(guide, judged())
    assert guide.place == "questions"
    guide.send(age="alt", how="9", device="x", glasses="vielleicht", words="§" * 5000)
    assert guide.page.count("wrong-line") == 5
    guide.send(age="31", how="5", device="§a")
    assert guide.place == "end"
    assert "D-1" in guide.page
    guide.open(reverse("study-review", args=[study.uuid]))
    assert "ja · nein · 4" in guide.page
    guide.open("/")
    close(study, None)
    for page in (reverse("study-review", args=[study.uuid]), "/"):
        guide.open(page)
    assert {"consent", "introduction", "trial", "again", "questions", "end", "answers"} <= set(guide.seen)


def test_a_consent_that_changed_and_one_that_is_refused() -> None:
    study = phased()
    guide = Guide(make.annotator(), study)
    guide.open()
    guide.send(consent="yes")
    revise(study, None, consent="§Neu")
    guide.open()
    assert guide.place == "consent"
    guide.send(consent="no")
    assert guide.place == "end"


def test_stopping_says_what_becomes_of_the_answers() -> None:
    for replaced in ([], ["returned"]):
        study = phased(plan={"replace": replaced})
        guide = Guide(make.annotator(), study)
        guide.open()
        Participant.objects.filter(study=study).update(external_id="P-1")
        guide.open(reverse("study-stop", args=[study.uuid]))
        guide.send()
        assert guide.place == "end"


@pytest.mark.parametrize("outcome", [outcome for outcome in ENDS if outcome in Participant.Outcome.values])
@pytest.mark.parametrize("recruited", ["", "P-1"])
def test_every_end(outcome: str, recruited: str) -> None:
    study = phased()
    person = make.participant(study, outcome=outcome, phase="done", finished=timezone.now(), external_id=recruited)
    guide = Guide(person.user, study)
    guide.open()
    assert guide.place == "end"
    with translation.override("de"):
        assert str(ENDS[Participant.Outcome(outcome)].heading) in guide.page


def test_ends_that_are_none() -> None:
    """Waiting for others, nothing left, nothing left yet, and a study that closed on the way."""
    study = make.ratings(1, k=1, title="§Titel", plan={"completion": CODES})
    first, second = Guide(make.annotator(), study), Guide(make.annotator(), study)
    first.open()
    second.open()
    assert "Im Augenblick ist nichts mehr zu tun" in second.page
    answer(first, judged(maps=1))
    assert first.place == "end"
    second.open()
    assert "Hier ist nichts mehr zu tun" in second.page
    shared = make.ratings(1, k=1, title="§Titel")
    third = Guide(make.annotator(), shared)
    third.open()
    answer(third, judged(maps=1))
    assert "hier zu finden" in third.page
    gone = make.ratings(1, title="§Titel")
    fourth = Guide(make.annotator(), gone)
    fourth.open()
    close(gone, None)
    fourth.open()
    assert "Diese Studie ist geschlossen" in fourth.page


# --- trials of every kind ---------------------------------------------------------------------------------------------


def _drawn() -> list[Study]:
    shown = make.images(1)
    return [
        make.drawings(1, title="§Titel"),
        make.drawings(1, title="§Titel", settings={"shown_class": "none"}),
        make.drawings(
            1, title="§Titel", images=shown, explanation_sets=[make.explain(shown)], settings={"start": "explanation"}
        ),
    ]


def _rated() -> list[Study]:
    shown = make.images(1)
    different = [make.explain(shown, target=1), make.explain(shown, target=2)]
    return [
        make.ratings(1, title="§Titel"),
        make.ratings(1, sets=3, title="§Titel", settings={"shown_class": "true"}),
        make.ratings(1, title="§Titel", images=shown, explanation_sets=different),
    ]


def _paired() -> list[Study]:
    forms: list[dict[str, Any]] = [
        {}, {"neither": False}, {"form": "slider"}, {"form": "slider", "neither": False},
        {"change_view": False, "shown_class": "true"},
    ]  # fmt: skip
    return [make.preferences(1, title="§Titel", settings=settings) for settings in forms]


def _teamed() -> list[Study]:
    studies = []
    for payload in ("none", "map", "neighbours", "matches"):
        shown = make.images(1)
        one = (
            make.explain(shown)
            if payload == "map"
            else make.compare(shown, payload=payload if payload != "none" else "neighbours")
        )
        groups = [Group("one", (one,))] if payload != "none" else [Group("none"), Group("one", (one,))]
        for asked in ("none", "scale"):
            studies.append(
                make.team(
                    1,
                    title="§Titel",
                    images=shown,
                    groups=groups,
                    conditions="within",
                    settings={"own_confidence": asked},
                )
            )
    return studies


@pytest.mark.parametrize("studies", [_drawn, _rated, _paired, _teamed])
def test_trials_answers_and_what_was_said(studies: Callable[[], list[Study]]) -> None:
    for study in studies():
        guide = Guide(make.annotator(), study)
        guide.open()
        assert guide.place == "trial"
        _give(guide, study)
        guide.open(reverse("study-review", args=[study.uuid]))
        first = Assignment.objects.filter(trial__study=study, state="answered").get()
        guide.open(reverse("trial", args=[first.uuid]))
        assert "Änderung senden" in guide.page


def _give(guide: Guide, study: Study) -> None:
    settings = study.version.settings
    if study.kind == "map_drawing":
        answer(guide, {"nothing": True})
    elif study.kind == "reasonability":
        answer(guide, judged(maps=len(guide.data["urls"]["maps"])))
    elif study.kind == "preference":
        answer(guide, {"choice": "a"} if settings["form"] == "choice" else {"preference": 2})
    else:
        sure = {"confidence": 3} if settings["own_confidence"] == "scale" else {}
        answer(guide, {"accept": True} | sure)


def test_what_was_painted_is_told_with_a_german_comma() -> None:
    study = make.drawings(1, title="§Titel")
    guide = Guide(make.annotator(), study)
    guide.open()
    multipart = {"submission": str(uuid4()), "payload": "{}", "drawing": as_file(make.drawing(1))}
    assert guide.client.post(guide.data["urls"]["answer"], multipart).status_code == 200
    drawn = Assignment.objects.get(trial__study=study).answer.drawn_map
    guide.open(reverse("study-review", args=[study.uuid]))
    assert "8 % bemalt" in guide.page
    drawn.__class__.objects.update(share=0.004)
    guide.open(reverse("study-review", args=[study.uuid]))
    assert "0,4 % bemalt" in guide.page


def test_practice_of_pairs_and_teams_tells_in_german() -> None:
    for expected in ("first", "second", "neither"):
        for given in ("a", "b", "neither"):
            shown = make.images(2)
            study = make.preferences(images=shown, title="§Titel", live=False)
            add_trials(study, None, "practice", [TrialItem(shown[0], gold={"choice": expected})])
            guide = Guide(make.annotator(), publish(study, None))
            guide.open()
            assert answer(guide, {"choice": given})["feedback"]
    for label in (1, 0, None):
        for said in (True, False):
            shown = make.images(2, label=1 if label is None else label)
            study = make.team(images=shown, title="§Titel", live=False, conditions="within")
            if label is None:
                ImageLabel.objects.filter(image__in=shown).delete()
            gold = {"accept": True} if label is None else {}
            add_trials(study, None, "practice", [TrialItem(shown[0], group="none", gold=gold)])
            guide = Guide(make.annotator(), publish(study, None))
            guide.open()
            assert answer(guide, {"accept": said})["feedback"]
