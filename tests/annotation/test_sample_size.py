"""People needed, their time and their interval: by hand, and against a statistics library."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.sample_size import Design, half_width, need, people_for, people_needed
from mlcore.runs.student import t_quantile


def test_people_for_images_conditions_and_answers():
    # 200 images in one trial each, 3 answers each, 40 trials a person: 600 / 40 = 15.
    assert people_needed(Design(200, answers_per_trial=3, trials_per_person=40)) == 15
    # Two conditions within people: 400 trials, 1,200 answers, 30.
    assert people_needed(Design(200, 2, "within", 3, 40)) == 30
    # Between people 15 in each of two arms; 41 a person leave a rest that needs one more, 15 × 41 = 615 ≥ 600.
    assert people_needed(Design(200, 2, "between", 3, 40)) == 30
    assert people_needed(Design(200, 2, "between", 3, 45)) == 2 * 14
    assert people_needed(Design(101, 1, "together", 1, 50)) == 3


def test_nobody_answers_a_trial_twice():
    # One person could answer all 10 images, but five answers each need five people.
    assert people_needed(Design(10, answers_per_trial=5, trials_per_person=500)) == 5
    assert people_needed(Design(10, answers_per_trial=5)) == 5
    assert people_needed(Design(10, 3, "between", 5)) == 15
    assert people_needed(Design(0, answers_per_trial=5)) == 0


def test_who_meets_what():
    assert (Design(10, 3, "together").trials, Design(10, 3, "together").met) == (10, 10)
    assert (Design(10, 3, "within").trials, Design(10, 3, "within").met) == (30, 30)
    assert Design(10, 3, "within", image_once=True).met == 10
    assert (Design(10, 3, "between").trials, Design(10, 3, "between").met) == (30, 10)
    # Nine trials over three conditions: three answers about each.
    assert Design(10, 3, "within", trials_per_person=9).per_condition == 3
    assert Design(10, 3, "between", trials_per_person=9).per_condition == 9


def test_hours_and_payment():
    found = need(Design(200, answers_per_trial=3, trials_per_person=40), seconds=15, rate=12)
    assert (found.people, found.answers) == (15, 600)
    assert found.hours == pytest.approx(2.5)  # 600 × 15 s
    assert found.minutes_per_person == pytest.approx(10)
    assert found.payment == pytest.approx(30)


def test_half_width_by_hand():
    # σ = 0.1, p = 0.5, n = 25: √(0.01 + 0.01) = 0.141421; 16 people: t₁₅ = 2.13145; 2.13145 × 0.141421 / 4.
    assert half_width(16, 25) == pytest.approx(0.0753582, abs=1e-6)
    # No spread between people and one answer each: the share of 5 people, t₄ = 2.77645, 2.77645 × 0.5 / √5.
    assert half_width(5, 1, spread=0.0) == pytest.approx(0.620832, abs=1e-5)
    assert half_width(1, 25) is None
    assert half_width(9, 0) is None


def test_an_arm_has_its_own_interval():
    design = Design(200, 2, "between", 3, 40)
    assert need(design).half_width == half_width(15, 40)


def test_people_for_a_width_are_the_fewest():
    for width in (0.3, 0.1, 0.05, 0.02, 0.005):
        people = people_for(width, 25)
        assert half_width(people, 25) <= width
        assert people == 2 or half_width(people - 1, 25) > width
    assert people_for(50, 25) == 2  # any two people
    assert people_for(0, 25) is None
    assert people_for(1e-9, 1) is None


@pytest.mark.parametrize(
    ("freedom", "value"),
    [(1, 12.7062047), (2, 4.30265273), (3, 3.18244631), (9, 2.26215716), (30, 2.04227246), (999, 1.96234146)],
)
def test_t_as_in_the_tables(freedom, value):
    assert t_quantile(0.975, freedom) == pytest.approx(value, rel=1e-8)


def test_t_in_closed_form():
    # One degree is Cauchy's: tan(π(p − ½)). Two degrees: (2p − 1) / √(2p(1 − p)).
    for probability in (0.5, 0.6, 0.9, 0.975, 0.999):
        assert t_quantile(probability, 1) == pytest.approx(math.tan(math.pi * (probability - 0.5)), abs=1e-9)
        closed = (2 * probability - 1) / math.sqrt(2 * probability * (1 - probability))
        assert t_quantile(probability, 2) == pytest.approx(closed, abs=1e-9)
    with pytest.raises(ValueError):
        t_quantile(1.0, 3)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.5001, 0.9999), st.integers(1, 100_000))
def test_t_as_a_library_has_it(probability, freedom):
    from scipy.stats import t

    assert t_quantile(probability, freedom) == pytest.approx(t.ppf(probability, freedom), rel=1e-7, abs=1e-8)
