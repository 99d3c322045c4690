"""A study's answers as arrays."""

import uuid
from typing import Any

import numpy as np
import pytest

from annotation.answers import submit
from annotation.flow import enter_as, next_step
from annotation.models import Assignment, Participant, Study, Trial
from annotation.statistics.alignment.rows import Rows, by_choice, read, rows_of
from annotation.studies.trials import Group
from tests.annotation import factories as make
from tests.annotation.statistics.alignment.said import rows


def as_said(found: Rows) -> list[tuple[Any, ...]]:
    return sorted(
        (found.raters[r], found.images[i], found.cells[c], int(choice), int(left))
        for r, i, c, choice, left in zip(
            found.rater, found.image, found.cell, found.choice, found.left, strict=True
        )
    )  # fmt: skip


def test_rows_of_named_answers():
    found = rows_of(
        [("b", "y", "road", 1, 0, 900), ("a", "x", "focus", -1), ("b", "x", "road", 0, 1, 5)],
        cells=["road", "focus"], kinds={"b": "simulated"},
    )  # fmt: skip
    assert (found.raters, found.kinds) == (("a", "b"), ("human", "simulated"))
    assert (found.images, found.cells) == (("x", "y"), ("road", "focus"))
    assert found.rater.tolist() == [1, 0, 1]
    assert found.cell.tolist() == [0, 1, 0]
    assert found.choice.tolist() == [1, -1, 0]
    assert found.left.tolist() == [0, -1, 1]
    assert found.milliseconds.tolist() == [900, -1, 5]
    assert len(found) == 3


def test_an_image_of_two_cells_is_two_items():
    found = rows_of([("a", "x", "1", 1), ("b", "x", "1", 0), ("a", "x", "2", 1), ("a", "y", "1", 1)])
    assert found.items.tolist() == [0, 0, 2, 1]
    assert found.of_cell("2").items.tolist() == [0]
    far = rows_of([("a", str(n), str(n), 1) for n in range(40)])
    both = far.where(np.array([39, 3, 39]))  # 1,600 possible pairs, three answers
    assert both.items.tolist() == [1, 0, 1]
    with pytest.raises(ValueError):
        found.of_cell("3")


def test_raters_are_left_out_by_name():
    found = rows({"a": "tt", "b": "no", "c": "o"})
    assert found.without(["a", "c", "nobody"]).choice.tolist() == [0, -1]
    assert found.without([]).choice.tolist() == found.choice.tolist()


def test_counts_by_group():
    counts = by_choice(np.array([0, 2, 2, 2]), np.array([1, -1, 0, 0]), 3)
    assert counts.tolist() == [[0, 0, 1], [0, 0, 0], [1, 2, 0]]
    assert by_choice(np.zeros(0, dtype=int), np.zeros(0, dtype=int), 0).shape == (0, 3)


# --- from the database ----------------------------------------------------------------------------------------


def answer_all(person: Participant, slots: dict[str, int | None], **values: Any) -> None:
    """Every trial: the map that is preferred in this arm, whichever side it stands on."""
    while (step := next_step(person)).kind == "trial":
        page = step.assignment
        assert page is not None
        slot = slots[page.trial.arm.name if page.trial.arm else ""]
        choice = "neither" if slot is None else "ab"[page.order.index(slot)]
        submit(assignment=page, submission=uuid.uuid4(), payload={"choice": choice}, **values)


def two_arms(number: int = 2) -> Study:
    images = make.images(number)
    groups = [Group(name, (make.explain(images), make.explain(images))) for name in ("road", "focus")]
    return make.preferences(images=images, groups=groups, k=None, image_once=False)


@pytest.mark.django_db
def test_a_study_is_read_by_arm_and_by_map():
    study = two_arms()
    first, second = make.participant(study), make.participant(study)
    answer_all(first, {"road": 1, "focus": None}, duration_ms=1500)
    answer_all(second, {"road": 0, "focus": 1})
    answer_all(enter_as(study, "scripted", "simulated"), {"road": 1, "focus": 1})
    found, conditions = read(study, ["human"])
    assert found.cells == ("road", "focus") == tuple(conditions)
    stimuli = Trial.objects.filter(arm__name="focus")[0].stimuli.order_by("slot")
    assert conditions["focus"] == tuple(stimulus.condition for stimulus in stimuli)
    names = [image.name for image in study.image_set.images.all()]
    wanted = [
        (person.pseudonym, name, cell, choice)
        for person, choices in ((first, {"road": 1, "focus": 0}), (second, {"road": -1, "focus": 1}))
        for name in names
        for cell, choice in choices.items()
    ]
    assert [one[:4] for one in as_said(found)] == sorted(wanted)
    sides = {
        (page.participant.pseudonym, page.trial.image.name, page.trial.arm.name): page.order[0]
        for page in Assignment.objects.all()
    }
    assert all(sides[one[:3]] == one[4] for one in as_said(found))
    assert set(found.kinds) == {"human"}
    assert sorted(set(found.milliseconds.tolist())) == [-1, 1500]
    both, _ = read(study, ["human", "simulated"])
    assert (len(both), sorted(both.kinds)) == (12, ["human", "human", "simulated"])


@pytest.mark.django_db
def test_what_does_not_count_is_not_read():
    study = make.preferences(3, k=None, conditions="together")
    answer_all(make.participant(study), {"": 1})
    one, other = Trial.objects.order_by("pk")[:2]
    Trial.objects.filter(pk=one.pk).update(phase="check")
    Trial.objects.filter(pk=other.pk).update(phase="practice")
    found, conditions = read(study, ["human"])
    assert (len(found), found.cells, list(conditions)) == (1, ("",), [""])


@pytest.mark.django_db
def test_a_point_on_the_scale_counts_by_its_sign():
    study = make.preferences(3, k=None, settings={"form": "slider"})
    person, points = make.participant(study), []
    for point in (-2, 0, 3):
        page = next_step(person).assignment
        assert page is not None
        submit(assignment=page, submission=uuid.uuid4(), payload={"preference": point})
        sign = (point > 0) - (point < 0)
        points.append(sign if page.order[0] == 0 else -sign)
    found, _ = read(study, ["human"])
    assert found.choice.tolist() == points


@pytest.mark.django_db
def test_an_order_that_nobody_kept_is_unknown():
    study = make.preferences(1, k=None, conditions="together")
    answer_all(make.participant(study), {"": 1})
    Assignment.objects.update(order=[])
    assert read(study, ["human"])[0].left.tolist() == [-1]


@pytest.mark.django_db
@pytest.mark.parametrize(("people", "images"), [(1, 1), (3, 4)])
def test_queries_do_not_grow_with_the_study(people, images, django_assert_num_queries):
    study = two_arms(images)
    for _ in range(people):
        answer_all(make.participant(study), {"road": 1, "focus": None})
    with django_assert_num_queries(4):
        found, _ = read(study, ["human"])
    assert len(found) == 2 * people * images


@pytest.mark.django_db
def test_a_study_without_answers_has_its_cells():
    found, _ = read(two_arms(), ["human"])
    assert (len(found), found.cells, found.raters) == (0, ("road", "focus"), ())
