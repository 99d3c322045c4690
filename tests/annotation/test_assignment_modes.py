"""Who is given which trials, mode by mode: fixed lists, blocks, conditions within and between people, n a person."""

import uuid
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from annotation import assignment as claims
from annotation.answers import submit
from annotation.candidates import next_trial
from annotation.completion import give_back
from annotation.entry import enter_guest, start_preview
from annotation.errors import StudyRefused
from annotation.flow import next_step, progress
from annotation.lists import ListPlan
from annotation.models import Assignment, ListEntry, Participant, Study, Trial, TrialList
from tests.annotation import factories as make
from tests.annotation.designs import PLAN, answer_to, cells, pairs, pictures, single

pytestmark = pytest.mark.django_db


def play(person: Participant, most: int = 100) -> list[Assignment]:
    """What the person is given on the way through the study, answered at once."""
    given: list[Assignment] = []
    while len(given) < most:
        page = next_step(person).assignment
        if page is None:
            return given
        submit(assignment=page, submission=uuid.uuid4(), payload=answer_to(page))
        given.append(page)
    return given


# --- k answers a trial ------------------------------------------------------------------------------------------------


def test_trials_are_filled_evenly():
    """No trial gets its second answer before each has its first: after n · T answers every trial has n."""
    study = single(6, k=3, trials_per_person=2)
    for number in range(9):
        play(enter_guest(study))
        given = Counter(Assignment.objects.values_list("trial", flat=True))
        spread = [given[trial] for trial in study.trials.values_list("pk", flat=True)]
        assert max(spread) - min(spread) <= 1, f"after {number + 1} people: {spread}"
    assert set(spread) == {3}
    assert next_step(enter_guest(study)).kind == "done"


def test_who_gives_their_place_back_frees_all_of_it():
    study = single(2, k=1, trials_per_person=2)
    person = enter_guest(study)
    play(person, 1)
    next_step(person)
    give_back(person)
    assert set(study.trials.values_list("claims_left", flat=True)) == {1}
    assert sorted(Assignment.objects.values_list("state", flat=True)) == ["returned", "set_aside"]
    assert len(play(enter_guest(study))) == 2


def test_a_look_takes_nobodys_place():
    study = single(2, k=1)
    looker = start_preview(study.owner, study)
    for _ in range(2):
        page = claims.claim_next(looker)
        submit(assignment=page, submission=uuid.uuid4(), payload=answer_to(page))
    assert set(study.trials.values_list("claims_left", flat=True)) == {1}
    assert len(play(enter_guest(study))) == 2
    # What others have answered can still be looked at.
    assert claims.claim_next(start_preview(study.owner, study)) is not None


# --- everyone ---------------------------------------------------------------------------------------------------------


def test_everyone_meets_every_trial_once_in_an_order_of_their_own():
    study = single(8, k=None)
    orders = []
    for _ in range(4):
        given = [page.trial_id for page in play(enter_guest(study))]
        assert sorted(given) == sorted(study.trials.values_list("pk", flat=True))
        orders.append(tuple(given))
    assert len(set(orders)) > 1
    ring = orders[0] + orders[0]
    assert all(any(ring[start : start + 8] == one for start in range(8)) for one in orders), "one order, other starts"


def test_everyone_may_be_given_fewer():
    study = single(8, k=None, trials_per_person=3)
    starts = set()
    for _ in range(4):
        person = enter_guest(study)
        assert progress(person).total == 3
        starts.add(tuple(page.trial_id for page in play(person)))
    assert {len(start) for start in starts} == {3}
    assert len(starts) > 1


# --- conditions -------------------------------------------------------------------------------------------------------


def test_within_people_everyone_meets_all_conditions_equally_and_no_image_twice():
    study = pairs(6, arms=3, k=None)
    for _ in range(3):
        given = play(enter_guest(study))
        assert len(given) == 6
        assert len({page.trial.image_id for page in given}) == 6
        assert sorted(Counter(page.trial.arm_id for page in given).values()) == [2, 2, 2]
        # In turns: after every third trial each condition was met equally often.
        for end in (3, 6):
            assert len(set(Counter(page.trial.arm_id for page in given[:end]).values())) == 1


def test_within_people_conditions_and_images_are_crossed_over_people():
    """Nobody's order of conditions is fixed, and an image is met in different conditions by different people."""
    study = pairs(8, arms=3, k=None)
    met: dict[int, set[int]] = defaultdict(set)
    firsts = set()
    for _ in range(12):
        given = play(enter_guest(study))
        firsts.add(given[0].trial.arm_id)
        for page in given:
            met[page.trial.image_id].add(page.trial.arm_id)
    assert len(firsts) > 1
    # By chance an image may stand alone in its stretch of one condition's order; not several of them.
    assert sum(len(arms) > 1 for arms in met.values()) >= 7


def test_between_people_each_meets_one_condition_and_arms_stay_even():
    study = pairs(3, arms=3, k=None, conditions="between")
    for number in range(1, 13):
        person = enter_guest(study)
        assert {page.trial.arm_id for page in play(person)} == {person.arm_id}
        sizes = Counter(Participant.objects.values_list("arm", flat=True)).values()
        assert max(sizes) - (min(sizes) if len(sizes) == 3 else 0) <= 1, f"after {number} people: {sizes}"


def test_who_stops_leaves_their_condition_to_the_next():
    study = pairs(2, arms=2, k=None, conditions="between")
    first, _second = enter_guest(study), enter_guest(study)
    give_back(first)
    assert enter_guest(study).arm_id == first.arm_id


def test_an_arm_that_has_nothing_left_takes_nobody():
    study = pairs(1, arms=2, k=1, conditions="between")
    first = enter_guest(study)
    play(first)
    assert {enter_guest(study).arm_id for _ in range(2)} == set(
        study.arms.exclude(pk=first.arm_id).values_list("pk", flat=True)
    )


# --- blocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotate", [False, True])
def test_blocks_are_left_only_when_they_are_through(rotate):
    study = single(9, classes=3, k=None, block_by="class", rotate_blocks=rotate)
    begun = []
    for _ in range(3):
        blocks = [page.trial.block for page in play(enter_guest(study))]
        assert sum(one != other for one, other in pairwise(blocks)) == 2
        assert sorted(Counter(blocks).values()) == [3, 3, 3]
        begun.append(blocks[0])
    assert begun == ([0, 1, 2] if rotate else [0, 0, 0])


def test_blocks_of_conditions_show_one_condition_after_the_other():
    study = pairs(3, arms=2, k=None, image_once=False, block_by="condition", rotate_blocks=True)
    for person in (enter_guest(study), enter_guest(study)):
        arms = [page.trial.arm_id for page in play(person)]
        assert len(arms) == 6
        assert sum(one != other for one, other in pairwise(arms)) == 1


# --- fixed lists ------------------------------------------------------------------------------------------------------


def lists_of(study: Study) -> list[list[Trial]]:
    rows = TrialList.objects.filter(study=study).prefetch_related("entries__trial").order_by("number")
    return [[entry.trial for entry in sorted(row.entries.all(), key=lambda e: e.position)] for row in rows]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("images", "arms", "length", "repeats"), [(6, 3, 3, 1), (7, 3, 3, 2), (5, 2, 5, 3), (4, 1, 3, 2)]
)
def test_made_lists_hold_every_trial_as_often_as_asked_and_no_image_twice(images, arms, length, repeats, seed):
    study = pairs(images, arms=arms, k=None, seed=seed, lists=ListPlan(length=length, repeats=repeats))
    made = lists_of(study)
    held = Counter(trial.pk for one in made for trial in one)
    assert set(held) == set(study.trials.values_list("pk", flat=True))
    assert set(held.values()) == {repeats}
    for one in made:
        assert 1 <= len(one) <= length
        assert len({trial.image_id for trial in one}) == len(one)
    assert max(map(len, made)) - min(map(len, made)) <= 1
    for one in made:
        counts = Counter(trial.arm_id for trial in one)
        assert max(counts.values()) - min(counts[arm.pk] for arm in study.arms.all()) <= 1


def test_lists_are_given_out_evenly_and_again_when_somebody_left():
    study = pairs(6, arms=3, k=None, lists=ListPlan(length=6))
    people = [enter_guest(study) for _ in range(3)]
    assert len({person.trial_list_id for person in people}) == 3
    give_back(people[1])
    assert enter_guest(study).trial_list_id == people[1].trial_list_id


def test_given_lists_are_answered_as_they_were_given():
    shown = pictures(3)
    groups = cells(shown, 2)
    given = [
        [(shown[2], "cell 0"), (shown[0], "cell 1")],
        [(shown[1], "cell 1"), (shown[2], "cell 1"), (shown[0], "cell 0")],
    ]
    study = make.preferences(images=shown, groups=groups, k=None, lists=ListPlan(given=given), plan=PLAN)
    for person in (enter_guest(study), enter_guest(study)):
        wanted = given[person.trial_list.number - 1]
        assert progress(person).total == len(wanted)
        assert [(page.trial.image, page.trial.arm.name) for page in play(person)] == wanted
    assert ListEntry.objects.count() == 5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([[]], "List 1 is empty"),
        ([[0]], "say which condition"),
        ([[(0, "cell 9")]], "Conditions: cell 0, cell 1"),
        ([[(0, "cell 0")], [(1, "cell 0"), (1, "cell 0")]], "List 2 has image"),
    ],
)
def test_lists_that_cannot_be_given_out_are_refused_with_the_place(given, said):
    shown = pictures(2)

    def named(entry):
        return (shown[entry[0]], entry[1]) if isinstance(entry, tuple) else shown[entry]

    plan = ListPlan(given=[[named(entry) for entry in one] for one in given])
    with pytest.raises(StudyRefused, match=said):
        make.preferences(images=shown, groups=cells(shown, 2), k=None, lists=plan)
    assert not Study.objects.exists()


# --- what comes next --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("design", ["k", "within", "lists", "everyone"])
def test_looking_ahead_names_the_trials_that_come(design):
    study = {
        "k": lambda: single(6, k=2),
        "within": lambda: pairs(6, arms=3, k=None),
        "lists": lambda: pairs(6, arms=3, k=None, lists=ListPlan(length=6)),
        "everyone": lambda: single(6, k=None),
    }[design]()
    person = enter_guest(study)
    page = next_step(person).assignment
    ahead = [trial.pk for trial in claims.peek(Participant.objects.select_related("study").get(pk=person.pk), 2)]
    assert Assignment.objects.count() == 1, "nothing is claimed by looking"
    submit(assignment=page, submission=uuid.uuid4(), payload=answer_to(page))
    assert [one.trial_id for one in play(person, 2)] == ahead


def test_a_trial_that_others_hold_is_waited_for_and_not_given():
    study = single(1, k=1)
    holder, other = enter_guest(study), enter_guest(study)
    page = next_step(holder).assignment
    assert next_trial(Participant.objects.select_related("study").get(pk=other.pk), "main") is None
    assert next_step(other).kind == "wait"
    submit(assignment=page, submission=uuid.uuid4(), payload=answer_to(page))
    assert next_step(other).kind == "done"
