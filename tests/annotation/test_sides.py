"""Left and right: an urn a person, whatever the trial, the condition and what was lost on the way."""

import math
import random
import uuid
from collections import Counter, defaultdict

import pytest

from annotation import assignment as claims
from annotation.answers import submit
from annotation.models import Assignment, Participant, Trial
from annotation.sides import draw_order, keeps_balance
from tests.annotation import factories as make
from tests.annotation.designs import answer_to, pairs, single


class Drawing:
    """A person who is handed trials of so many slots; only what `draw_order` reads of the rows."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        study = type("S", (), {"seed": seed})()
        self.person = Participant(uuid=uuid.UUID(int=rng.getrandbits(128)))
        self.person.__dict__["_state"].fields_cache = {"study": study}
        self.rng = rng

    def order(self, slots: int, firsts: Counter[int]) -> list[int]:
        trial = Trial(uuid=uuid.UUID(int=self.rng.getrandbits(128)))
        return draw_order(self.person, trial, list(range(slots)), firsts)


@pytest.mark.parametrize("slots", [2, 3, 4])
def test_after_every_draw_each_stimulus_came_first_as_often_as_the_others(slots):
    for seed in range(30):
        drawing, firsts = Drawing(seed), Counter()
        for _ in range(25):
            order = drawing.order(slots, firsts)
            assert sorted(order) == list(range(slots))
            firsts[order[0]] += 1
            assert max(firsts.values()) - min(firsts[slot] for slot in range(slots)) <= 1


def test_the_first_of_each_pair_of_draws_is_a_fair_coin():
    """An urn of two: the odd draws are free (inside the interval of 99.9 %), each even draw is the other side."""
    free, forced = [], []
    for seed in range(400):
        drawing, firsts = Drawing(seed), Counter()
        for number in range(4):
            side = drawing.order(2, firsts)[0]
            (free if number % 2 == 0 else forced).append(side)
            firsts[side] += 1
    assert abs(sum(free) / len(free) - 0.5) < 3.2905 * math.sqrt(0.25 / len(free))
    assert [1 - side for side in free] == forced


def test_the_same_person_and_trial_give_the_same_order():
    drawing = Drawing(1)
    trial = Trial(uuid=uuid.uuid4())
    assert draw_order(drawing.person, trial, [0, 1], {}) == draw_order(drawing.person, trial, [0, 1], {})
    assert draw_order(drawing.person, trial, [0], {}) == [0]
    assert draw_order(drawing.person, trial, [], {}) == []


@pytest.mark.parametrize(
    ("order", "firsts", "keeps"),
    [
        ([0, 1], {}, True),
        ([0, 1], {0: 1}, False),
        ([1, 0], {0: 1}, True),
        ([0, 1], {0: 2, 1: 2}, True),
        ([0, 1], {0: 2, 1: 1}, False),
        ([0], {0: 5}, True),
        ([], {}, True),
    ],
)
def test_an_order_is_taken_up_again_only_where_it_keeps_the_balance(order, firsts, keeps):
    assert keeps_balance(order, firsts) is keeps


def answered(person, *, lose_some: random.Random | None = None) -> list[Assignment]:
    """All that the person is given; with `lose_some` a third is given back and taken up later."""
    given = []
    for _ in range(200):
        page = claims.claim_next(person)
        if page is None:
            return given
        if lose_some is not None and lose_some.random() < 0.33:
            claims.return_open(person)
            continue
        submit(assignment=page, submission=uuid.uuid4(), payload=answer_to(page))
        given.append(page)
        left = sum(one.order[0] == 0 for one in given)
        assert abs(2 * left - len(given)) <= 1
    raise AssertionError("There is no end to it.")


@pytest.mark.django_db
def test_sides_stay_even_over_conditions_and_whatever_was_given_back():
    study = pairs(5, k=None, image_once=False)
    orders: dict[int, Counter[int]] = defaultdict(Counter)
    for number in range(4):
        for page in answered(make.participant(study), lose_some=random.Random(number)):
            orders[page.trial.arm_id][page.order[0]] += 1
    # Independent of the condition: 20 draws each, none of them on one side alone.
    assert all(min(sides.values()) >= 3 and len(sides) == 2 for sides in orders.values())


@pytest.mark.django_db
def test_the_side_is_not_told_by_the_place_of_a_trial():
    """The first trial of 24 people falls on both sides (each with a chance of at most 2⁻²³ to miss one)."""
    study = single(1, k=None)
    assert {claims.claim_next(make.participant(study)).order[0] for _ in range(24)} == {0, 1}


@pytest.mark.django_db
def test_the_order_is_kept_on_the_assignment_and_survives_a_lost_lease():
    study = single(3, k=2)
    person = make.participant(study)
    page = claims.claim_next(person)
    claims.return_open(person)
    again = claims.claim_next(person)
    assert (again.pk, again.order) == (page.pk, page.order)
    assert [claims.stimulus_at(again, place).slot for place in range(2)] == again.order
