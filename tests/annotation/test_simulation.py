"""Scripted annotators answer the way that people do, and say who they are."""

import numpy as np
import pytest

from annotation.answers import load
from annotation.errors import StudyClosed, StudyRefused
from annotation.models import Answer, Assignment, DrawnMap, Judgement, Participant, Trial
from annotation.simulation import evaluation_map, simulate, true_mask
from annotation.statistics.map_drawing import values_of
from mlcore.exchange.scripted import ErrorRates
from mlcore.models import Box
from tests.annotation import factories as make

pytestmark = pytest.mark.django_db

EXACT = ErrorRates(boundary=0, missed=0, wrong_rating=0)


@pytest.fixture
def images():
    made = make.images(4)
    for image in made:
        make.MaskFactory(image=image)  # the left half
    return made


def test_exact_annotators_draw_the_true_mask(images):
    study = make.drawings(images=images, k=None)
    seen = []
    found = simulate(study, people=2, rates=EXACT, progress=lambda done, total: seen.append((done, total)))
    assert (found.people, found.answers) == (2, 8)
    assert seen == [(number, 8) for number in range(1, 9)]
    for row in DrawnMap.objects.all():
        values = values_of(row)
        assert (values[:, :6] == 1).all()
        assert (values[:, 6:] == 2).all()
    people = Participant.objects.order_by("pk").values_list("pseudonym", "kind")
    assert list(people) == [("scripted-1", "simulated"), ("scripted-2", "simulated")]


def test_exact_annotators_rate_the_map_against_the_mask(images):
    wrong = np.zeros((4, 4, 6), dtype=np.float32)
    wrong[:, :, 4:] = 1  # bright on the right, off the object
    fits, misses = make.explain(images), make.explain(images, maps=wrong)
    study = make.ratings(images=images, explanation_sets=[fits, misses], k=None)
    simulate(study, rates=EXACT)
    said = Judgement.objects.filter(question__in=["necessary", "unnecessary"])
    told = set(said.values_list("stimulus__slot", "question", "truth"))
    assert told == {
        (0, "necessary", True),
        (0, "unnecessary", False),
        (1, "necessary", False),
        (1, "unnecessary", True),
    }


def test_error_rates_show(images):
    study = make.drawings(images=images, k=None)
    simulate(study, rates=ErrorRates(boundary=0, missed=1, wrong_rating=0))
    assert not DrawnMap.objects.exists()
    assert Judgement.objects.filter(question="nothing", truth=True).count() == 4
    fits = make.explain(images)
    rated = make.ratings(images=images, explanation_sets=[fits], k=None)
    simulate(rated, rates=ErrorRates(boundary=0, missed=0, wrong_rating=1))
    values = Judgement.objects.filter(question="unnecessary") | Judgement.objects.filter(question="necessary")
    assert values.filter(truth=True, question="necessary").exclude(
        answer__in=values.filter(truth=True, question="unnecessary").values("answer")
    ).count() == 0  # fmt: skip


def test_going_on_adds_what_is_missing_and_nothing_twice(images):
    study = make.drawings(images=images, k=1)
    assert simulate(study, limit=3, rates=EXACT).answers == 3
    assert simulate(study, people=2, rates=EXACT).answers == 1
    assert simulate(study, people=2, rates=EXACT).answers == 0
    assert Answer.objects.count() == 4
    assert set(Trial.objects.values_list("claims_left", flat=True)) == {0}
    assert load(Assignment.objects.first()).drawing is not None


def test_the_same_seed_draws_the_same(images):
    noisy = ErrorRates(boundary=0.2, missed=0, wrong_rating=0)

    def maps(seed: int) -> dict[int, str]:
        study = make.drawings(images=images, k=None)
        simulate(study, seed=seed, rates=noisy)
        rows = DrawnMap.objects.filter(answer__assignment__trial__study=study)
        return dict(rows.values_list("answer__assignment__trial__image", "sha256"))

    assert maps(1) == maps(1)
    assert maps(1) != maps(2)


def test_what_they_cannot_do_is_said(images):
    bare = make.images(1)
    with pytest.raises(StudyRefused, match="neither a mask nor a box"):
        simulate(make.drawings(images=bare))
    with pytest.raises(StudyClosed):
        simulate(make.drawings(images=images, live=False))
    odd = make.drawings(images=images)
    odd.kind = "other"
    with pytest.raises(StudyRefused, match="cannot answer"):
        simulate(odd)


def test_boxes_stand_in_for_masks():
    (image,) = make.images(1)
    Box.objects.create(image=image, x0=2, y0=1, x1=5, y1=3)
    mask = true_mask(image)
    assert mask.sum() == 6
    assert mask[1:3, 2:5].all()


def test_a_constant_map_looks_nowhere():
    assert evaluation_map(np.full((2, 2), 0.7)).max() == 0
    assert evaluation_map(np.array([[1.0, 3.0]])).tolist() == [[0.0, 1.0]]


def test_exact_annotators_prefer_the_map_on_the_object_whatever_the_side(images):
    wrong = np.zeros((4, 4, 6), dtype=np.float32)
    wrong[:, :, 4:] = 1
    sets = [make.explain(images, maps=wrong), make.explain(images)]
    study = make.preferences(images=images, explanation_sets=sets, k=None)
    simulate(study, people=2, rates=EXACT)
    assert set(Judgement.objects.values_list("question", "stimulus__slot")) == {("chosen", 1)}
    scale = make.preferences(images=images, explanation_sets=sets, k=None, settings={"form": "slider"})
    simulate(scale, rates=EXACT)
    points = Judgement.objects.filter(answer__assignment__trial__study=scale, question="preference")
    assert set(points.values_list("number", flat=True)) == {2.0}, "positive is the second map, on either side"


def test_exact_annotators_accept_what_is_right():
    shown = [*make.images(2, label=1)]
    shown += make.images(2, label=2, image_set=shown[0].image_set)
    study = make.team(images=shown, k=1)  # the classifier says class 1 of all
    simulate(study, people=2, rates=EXACT)
    said = Judgement.objects.filter(question="accept").values_list("answer__assignment__trial__image", "truth")
    assert {(image, truth) for image, truth in said} == {(image.pk, index < 2) for index, image in enumerate(shown)}
