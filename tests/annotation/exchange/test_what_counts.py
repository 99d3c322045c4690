"""Exports say in which condition and place an answer stands, whether it was right, and whether it counts."""

import csv
import io
import uuid

import pytest

from annotation import publishing
from annotation.answers import submit
from annotation.completion import give_back
from annotation.entry import start_preview
from annotation.exchange import export
from annotation.flow import next_step
from annotation.studies.trials import Group
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db


def play(person, most: int = 1000, **said) -> None:
    for _ in range(most):
        step = next_step(person)
        if step.kind != "trial":
            return
        payload = make.rating(step.assignment, **said)
        submit(assignment=step.assignment, submission=uuid.uuid4(), payload=payload)


def rows_of(study) -> list[dict[str, str]]:
    stream = io.StringIO(newline="")
    export.export_csv(study, stream)
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


def test_conditions_places_and_what_counts():
    shown = make.images(3)
    groups = [Group("before", (make.explain(shown),)), Group("after", (make.explain(shown),))]
    study = make.ratings(images=shown, groups=groups, conditions="between", k=None, live=False)
    item = publishing.TrialItem(shown[0], gold={"necessary": "yes"})
    publishing.add_trials(study, study.owner, "practice", [item])
    publishing.publish(study, study.owner)
    person = make.participant(study)
    play(person, necessary=False)
    gone = make.participant(study)
    play(gone, 3)
    give_back(gone)
    look = start_preview(study.owner, study)
    play(look)
    rows = rows_of(study)
    assert look.pseudonym not in {row["participant"] for row in rows}
    mine = [row for row in rows if row["participant"] == person.pseudonym]
    assert {row["arm"] for row in mine} == {person.arm.name}
    assert [(row["phase"], row["counts"], row["check_correct"]) for row in mine] == [
        ("practice", "false", "false"), ("main", "true", ""), ("main", "true", ""), ("main", "true", "")
    ]  # fmt: skip
    assert [row["place"] for row in mine] == ["1", "1", "2", "3"]
    assert {row["outcome"] for row in mine} == {"completed"}
    theirs = [row for row in rows if row["participant"] == gone.pseudonym]
    # The practice trial was answered rightly; two main answers were set aside with the place.
    assert [(row["phase"], row["counts"], row["check_correct"]) for row in theirs] == [
        ("practice", "false", "true"), ("main", "false", ""), ("main", "false", "")
    ]  # fmt: skip
    assert {row["outcome"] for row in theirs} == {"returned"}


def test_every_column_has_its_line_in_the_codebook():
    for study in (make.ratings(1), make.drawings(1), make.preferences(1), make.team(1)):
        meanings = {line["column"]: line["meaning"] for line in export.codebook(study)}
        assert {"arm", "place", "check_correct", "outcome", "counts"} <= set(meanings)
        assert all(meanings.values())
        assert len(meanings) == len(export.columns(study))
