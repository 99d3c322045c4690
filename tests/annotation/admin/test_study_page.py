"""The page of a study: people, balance, doubtful answers, what keeps a draft from going live, results of every kind."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotation import publishing, simulation
from annotation.admin import results, study_page
from annotation.admin.results import Bar, Point, bars_of, points_of, sentences_of
from annotation.entry import start_preview
from annotation.models import Answer, Assignment, Participant, Study, Trial
from annotation.plan import default_plan
from annotation.studies.trials import Group
from mlcore.models import AuditEntry, HumanMapSet, Image
from tests.annotation.factories import drawings, explain, images, participant, preferences, ratings, team

pytestmark = pytest.mark.django_db


def address(name: str, *args) -> str:
    return reverse(f"admin:annotation_study_{name}", args=args)


def person(study: Study, times: list[int], *, missed: int = 0, kind: str = "human", **values) -> Participant:
    """A person with answers that took so many milliseconds, and so many missed checks, written row by row."""
    number = study.participants.count()
    made = Participant.objects.create(
        study=study, kind=kind, pseudonym=f"P-{number:03}", number=number, order_offset=0, phase="main", **values
    )
    main = list(study.trials.filter(phase="main").order_by("pk")[: len(times)])
    checks = list(study.trials.filter(phase="check").order_by("pk")[:missed])
    for trial, milliseconds, correct in [
        *zip(main, times, [None] * len(times), strict=True), *((trial, 3000, False) for trial in checks)
    ]:  # fmt: skip
        row = Assignment.objects.create(
            participant=made, trial=trial, state="answered", order=[number % 2, 1 - number % 2],
            answered=timezone.now(), lease_until=timezone.now() + timedelta(hours=1),
        )  # fmt: skip
        Answer.objects.create(
            assignment=row, version=study.version, submission=row.uuid, duration_ms=milliseconds, correct=correct
        )
    return made


def test_medians_are_those_of_each_person():
    study = ratings(5, k=None)
    odd = person(study, [1000, 9000, 2000])
    even = person(study, [1000, 9000, 2000, 4000])
    one = person(study, [7000])
    nobody = person(study, [])
    person(study, [1, 1, 1], kind="preview")
    assert study_page.median_seconds(study) == {odd.pk: 2.0, even.pk: 3.0, one.pk: 7.0}
    assert study_page.median_seconds(study, [even.pk, nobody.pk]) == {even.pk: 3.0}


def test_doubtful_people_are_named_with_the_reason():
    plan = default_plan() | {"checks": {"allowed_misses": 1, "on_fail": "flag"}}
    study = ratings(3, k=None, plan=plan, live=False)
    right = {"necessary": "yes"}
    items = [publishing.TrialItem(trial.image, gold=right) for trial in study.trials.all()]
    publishing.add_trials(study, study.owner, "check", items)
    fast = person(study, [900, 1100, 1000])
    person(study, [3000, 3100, 3200], missed=1)
    person(study, [4000])
    both = person(study, [1000], missed=2)
    person(study, [9000, 9000], missed=3, kind="simulated")
    found = {flag.participant: flag.why for flag in study_page.flags(study)}
    # Medians 1, 3.1, 4, 1 and 9 seconds: the middle one is 3.1, a third of it 1.033.
    assert found == {
        fast.pk: "1.0 s a trial, others 3.1 s",
        both.pk: "missed 2 attention checks, 1 allowed; 1.0 s a trial, others 3.1 s",
    }


def test_two_people_cannot_be_called_fast():
    study = ratings(2, k=None)
    person(study, [100])
    person(study, [9000])
    assert study_page.flags(study) == []


def test_conditions_are_counted_by_people_and_answers():
    shown = images(2)
    groups = [Group("before", (explain(shown),)), Group("after", (explain(shown),))]
    study = ratings(images=shown, groups=groups, conditions="between", k=None)
    before, after = study.arms.all()
    person(study, [1000], arm=before)  # its first trial is of the first condition
    gone = person(study, [], arm=before)
    Participant.objects.filter(pk=gone.pk).update(outcome="returned", phase="done", finished=timezone.now())
    person(study, [], arm=after)
    start_preview(study.owner, study)
    assert study_page.balance(study) == [
        study_page.ArmBalance("before", 1, 1, 1), study_page.ArmBalance("after", 1, 0, 0)
    ]  # fmt: skip
    assert dict(study_page.outcomes(study)) == {"going on": 2, "stopped and gave the place back": 1}


def test_sides_of_pairs_are_counted():
    study = preferences(3, k=None)
    person(study, [1000, 1000])  # 0 on the left
    person(study, [1000])  # 1 on the left
    person(study, [1000] * 3, kind="simulated")
    found = study_page.sides(study)
    assert (found.left, found.total, found.share) == (2, 3, pytest.approx(2 / 3))
    assert study_page.sides(drawings(1)) is None


def test_the_page_says_what_keeps_a_draft_from_going_live(client):
    plan = default_plan()
    plan["people"] |= {"accounts": False}
    study = ratings(2, live=False, plan=plan)
    publishing.add_trials(
        study, study.owner, "qualification", [publishing.TrialItem(study.trials.first().image, gold=None)]
    )
    client.force_login(study.owner)
    page = client.get(address("change", study.pk)).content.decode()
    assert "Nobody can enter" in page
    assert address("edit", study.pk) + "#people" in page
    assert "1 qualification trial has no right answer." in page
    assert address("trials", study.pk) in page
    client.post(address("publish", study.pk))
    assert "Nobody can enter" in client.get(address("change", study.pk)).content.decode()
    assert Study.objects.get().state == "draft"
    assert reverse("study-preview", args=[study.uuid]) in page


def test_people_stand_in_pages_of_two_hundred(client):
    study = ratings(1, k=None)
    for _ in range(3):
        person(study, [1000])
    rows = [
        Participant(study=study, pseudonym=f"Q-{number:04}", number=number, order_offset=0) for number in range(220)
    ]
    Participant.objects.bulk_create(rows)
    client.force_login(study.owner)
    first = client.get(address("change", study.pk)).content.decode()
    assert first.count("Delete this person") == 200
    assert "1–200 of 223" in first
    second = client.get(address("change", study.pk), {"page": 2}).content.decode()
    assert second.count("Delete this person") == 23
    assert "Q-0219" in second


def test_the_page_costs_the_same_for_few_and_many(client):
    costs = {}
    for size in ("few", "many"):
        study = ratings(2, k=None, plan=default_plan())
        _grow(study, **({"trials": 5, "people": 3} if size == "few" else {"trials": 3000, "people": 1000}))
        client.force_login(study.owner)
        client.get(address("change", study.pk))
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(address("change", study.pk))
        assert answer.status_code == 200
        costs[size] = len(queries)
        longest = max(len(row["sql"]) for row in queries)
        assert longest < 12_000  # no list of thousands of ids
    assert costs["few"] == costs["many"] <= 28
    # Nobody's rows are loaded beyond the page: the widest answer of the database is a page of people.
    assert len(answer.context["people"].object_list) == 200


def _grow(study: Study, *, trials: int, people: int) -> None:
    image = Image.objects.first()
    Trial.objects.bulk_create([Trial(study=study, image=image, context={}) for _ in range(trials)], batch_size=500)
    Participant.objects.bulk_create(
        [Participant(study=study, pseudonym=f"G-{number}", number=number, order_offset=0) for number in range(people)]
    )
    first = list(study.trials.order_by("pk").values_list("pk", flat=True)[:5])
    now = timezone.now()
    made = Assignment.objects.bulk_create(
        [
            Assignment(participant=row, trial_id=trial, state="answered", order=[0], answered=now, lease_until=now)
            for row in study.participants.all()
            for trial in first
        ],
        batch_size=500,
    )
    version = study.version
    Answer.objects.bulk_create(
        [Answer(assignment=row, version=version, submission=row.uuid, duration_ms=2000) for row in made],
        batch_size=500,
    )


@pytest.mark.parametrize("make", [ratings, drawings, preferences, team])
def test_every_kind_shows_its_result_folded_while_live(make, client):
    study = make(2, k=1)
    client.force_login(study.owner)
    page = client.get(address("change", study.pk)).content.decode()
    assert "Look now (will be logged)" in page
    looked = client.post(address("look", study.pk)).content.decode()
    assert "No answers yet." in looked
    publishing.close(study, study.owner)
    assert client.get(address("change", study.pk)).status_code == 200
    assert AuditEntry.objects.filter(action="study.look").count() == 1


def test_simulated_answers_are_shown_as_such(client):
    study = ratings(2)
    for trial in study.trials.all():
        trial.image.boxes.create(x0=0, y0=0, x1=6, y1=8)
    simulation.simulate(study, people=1)
    client.force_login(study.owner)
    assert "of simulated annotators" in client.post(address("look", study.pk)).content.decode()
    assert results.kinds_of({"human": 1, "simulated": 9}) == ["human"]
    assert results.kinds_of({"imported": 2, "simulated": 9}) == ["imported", "simulated"]
    assert results.kinds_of({}) == ["human"]


def test_what_people_drew_is_kept_to_compare_with(client):
    study = drawings(2)
    client.force_login(study.owner)
    said = client.post(address("human_maps", study.pk), follow=True).content.decode()
    assert "nobody" in said.lower() or "no map" in said.lower(), "nothing to keep yet, and the page says so"
    assert not HumanMapSet.objects.exists()
    assert "Compare with what people drew" not in client.get(address("change", study.pk)).content.decode()
    for image in Image.objects.all():
        image.boxes.create(x0=0, y0=0, x1=6, y1=8)
    simulation.simulate(study, people=1)
    assert "Compare with what people drew" in client.get(address("change", study.pk)).content.decode()
    said = client.post(address("human_maps", study.pk), follow=True).content.decode()
    assert "2 maps of simulated annotators are kept as they are now." in said
    assert HumanMapSet.objects.get().participants == {"simulated": 1}
    assert client.get(address("human_maps", study.pk)).status_code == 405


def test_a_bar_stands_around_the_middle_of_neither():
    bar = Bar("", "before", "after", (2, 4, 4), (0.2, 0.4, 0.4))
    # 60 % of the bar lies left of… 20 + half of 40 = 40 % on the left, so it begins at 60 and ends at 160.
    assert [(part["x"], part["width"]) for part in bar.parts] == [(60.0, 20.0), (80.0, 40.0), (120.0, 40.0)]
    assert Bar("", "a", "b", (1, 0, 0), (1.0, 0.0, 0.0)).parts[0]["x"] == 0.0
    cell = {"cell": "x", "first": "a", "second": "b", "counts": {"first": 1, "neither": 1, "second": 2}}
    assert bars_of({"cells": [cell]})[0].shares == (0.25, 0.25, 0.5)
    assert bars_of({"cells": [cell | {"counts": {"first": 0, "neither": 0, "second": 0}}]}) == []
    assert bars_of({"models": []}) == []


def test_points_of_accuracies_stay_on_their_axis():
    one = {"condition": "map", "accuracy": {"overall": {"mean": 0.9, "low": 0.7, "high": 1.1, "people": 4}}}
    points = points_of({"conditions": [one], "ais": [{"title": "one", "accuracy": 0.5, "images": 20}]})
    assert points == [Point("map", 0.9, 0.7, 1.1, 4), Point("The AI alone", 0.5, None, None, 20)]
    assert (points[0].x, points[0].whisker) == (180.0, (140.0, 60.0))
    assert points[1].whisker is None
    assert points_of({"conditions": [], "ais": [{"title": "one", "accuracy": 0.5, "images": 20}]}) == []


def test_the_result_is_said_in_sentences():
    assert sentences_of({"answers": 0, "sentence": "x"}) == []
    cells = [{"answers": 3, "sentence": "one"}, {"answers": 0, "sentence": "none"}]
    assert sentences_of({"answers": 3, "cells": cells, "overall": {"sentence": "all"}}) == ["one"]
    two = [{"answers": 3, "sentence": "one"}, {"answers": 2, "sentence": "two"}]
    assert sentences_of({"answers": 5, "cells": two, "overall": {"sentence": "all"}}) == ["one", "two", "all"]
    assert sentences_of({"answers": 5}) == ["5 answers."]


def test_previews_are_counted_nowhere(client):
    study = ratings(2, k=1)
    person(study, [1000, 1000], kind="preview")
    assert study_page.progress(study).answers == 0
    assert study_page.people_page(study).paginator.count == 0
    assert study_page.kinds_that_answered(study) == {}
    assert study_page.listed(Study.objects.all()).get().n_answers == 0
    client.force_login(study.owner)
    sent = client.get(address("export", study.pk, "csv"))
    assert len(b"".join(sent.streaming_content).decode().splitlines()) == 1
    participant(study)
    assert study_page.people_page(study).paginator.count == 1
