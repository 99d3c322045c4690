"""Whatever people do, in whatever order: what must hold of a study holds after every step of theirs.

Each run is a random walk through the domain's own functions, drawn from a seed; a failure prints the walk.
"""

import random
import uuid
from collections import Counter, defaultdict
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Count, Q
from django.utils import timezone

from annotation import assignment as claims
from annotation.answers import save_draft, submit
from annotation.candidates import FREE, HELD, LOST, left_for
from annotation.completion import finish, give_back
from annotation.entry import start_preview
from annotation.errors import StudyClosed, TrialTaken
from annotation.flow import answered, next_step
from annotation.models import Assignment, ListEntry, Participant, Study, Trial
from annotation.models.studies import Phase
from annotation.people import forget
from tests.annotation import factories as make
from tests.annotation.designs import DESIGNS, answer_to

pytestmark = pytest.mark.django_db

COUNTED = Q(assignments__state__in=HELD) & ~Q(assignments__participant__kind="preview")
STEPS = 80


class Walk:
    """A study, some people, and what they do next; `did` is the record."""

    def __init__(self, design: str, seed: str) -> None:
        self.rng = random.Random(f"{design}/{seed}")
        self.study: Study = DESIGNS[design]()
        self.people = [make.participant(self.study) for _ in range(3)]
        self.pages: list[Assignment] = []
        self.late: Counter[int] = Counter()  # person → answers or drafts from a page whose lease was lost
        self.did: list[str] = []
        self.looker: Participant | None = None
        # By chance as often as they are named.
        self.acts = [
            *[self.claim] * 5, *[self.answer] * 5, *[self.go_on] * 2, self.expire, self.expire, self.give_back,
            self.draft, self.tidy, self.enter, self.end, self.leave, self.forget, self.look,
        ]  # fmt: skip

    def step(self) -> None:
        act = self.rng.choice(self.acts)
        self.did.append(act.__name__)
        act()

    def person(self) -> Participant:
        return Participant.objects.select_related("study").get(pk=self.rng.choice(self.people).pk)

    def page(self) -> Assignment | None:
        """Some page that was opened; its row may have changed since, or be gone with its person."""
        if not self.pages:
            return None
        page = self.rng.choice(self.pages[-6:])
        return page if Assignment.objects.filter(pk=page.pk).exists() else None

    def claim(self) -> None:
        person = self.person()
        given = claims.claim_next(person)
        if given is None:
            through = person.outcome != "" or answered(person).count() == self.study.trials_per_person
            assert through or not left_for(person).filter(FREE).exists(), "something was free, and nothing was given"
            return
        assert given.participant_id == person.pk
        self.pages.append(Assignment.objects.get(pk=given.pk))

    def go_on(self) -> None:
        step = next_step(self.person())
        assert step.kind in ("trial", "wait", "done")
        if step.assignment is not None:
            self.pages.append(Assignment.objects.get(pk=step.assignment.pk))

    def answer(self) -> None:
        page = self.page()
        if page is None:
            return
        row = Assignment.objects.get(pk=page.pk)
        try:
            submit(
                assignment=page,
                submission=uuid.uuid5(uuid.NAMESPACE_OID, str(page.pk)),
                payload=answer_to(page, self.rng.choice("ab")),
            )
        except TrialTaken:
            assert row.state in LOST
        except StudyClosed:
            assert row.state == "set_aside"
        else:
            self.late[row.participant_id] += row.state in LOST

    def draft(self) -> None:
        page = self.page()
        if page is None:
            return
        row = Assignment.objects.get(pk=page.pk)
        if row.state == "answered":
            return
        try:
            save_draft(page, {"choice": "a"})
        except TrialTaken:
            assert row.state in LOST
        except StudyClosed:
            assert row.state == "set_aside"
        else:
            self.late[row.participant_id] += row.state in LOST

    def expire(self) -> None:
        page = self.page()
        if page is not None:
            Assignment.objects.filter(pk=page.pk).update(lease_until=timezone.now() - timedelta(hours=1))

    def tidy(self) -> None:
        claims.release_expired()

    def give_back(self) -> None:
        claims.return_open(self.person())

    def leave(self) -> None:
        give_back(self.person())

    def end(self) -> None:
        if self.rng.random() < 0.5:
            finish(self.person(), self.rng.choice(["completed", "failed_checks"]))

    def enter(self) -> None:
        if len(self.people) < 6:
            self.people.append(make.participant(self.study))

    def forget(self) -> None:
        if self.rng.random() < 0.3 and len(self.people) > 2:
            person = self.people.pop(self.rng.randrange(len(self.people)))
            forget(Participant.objects.get(pk=person.pk), None)

    def look(self) -> None:
        """A researcher looks at the study; nothing of it counts."""
        if self.looker is None:
            self.looker = start_preview(self.study.owner, self.study)
        page = claims.claim_next(self.looker)
        if page is not None and self.rng.random() < 0.7:
            submit(assignment=page, submission=uuid.uuid4(), payload=answer_to(page))

    # --- what must hold ---------------------------------------------------------------------------------------------

    def check(self) -> None:
        study = self.study
        held = Assignment.objects.filter(trial__study=study, trial__phase=Phase.MAIN, state__in=HELD)
        if study.mode == Study.Mode.K:
            for trial in Trial.objects.filter(study=study).annotate(held=Count("assignments", filter=COUNTED)):
                assert trial.claims_left + trial.held == study.answers_per_trial, "places and people do not add up"
        by_person: dict[int, list[Assignment]] = defaultdict(list)
        for row in held.select_related("trial").order_by("pk"):
            by_person[row.participant_id].append(row)
        for person, rows in by_person.items():
            assert sum(row.state == "open" for row in rows) <= 1, "two trials open at once"
            assert len({row.trial_id for row in rows}) == len(rows), "a trial twice"
            if study.trials_per_person is not None:
                assert len(rows) <= study.trials_per_person, "more trials than one person answers"
            if study.image_once:
                assert len({row.trial.image_id for row in rows}) == len(rows), "an image twice"
            left = sum(row.order[0] == 0 for row in rows)
            assert abs(2 * left - len(rows)) <= 1 + self.late[person], "sides tip"


@pytest.mark.parametrize("design", DESIGNS)
def test_what_must_hold_holds_after_every_step(design):
    seed = connection.vendor  # each database has walks of its own
    walk = Walk(design, seed)
    try:
        for _ in range(STEPS):
            walk.step()
            walk.check()
    except Exception:
        print(f"{design}, seed {seed}: {' '.join(walk.did)}")
        raise


def test_a_late_answer_takes_the_place_of_what_was_given_instead():
    """Lease lost, another trial given, then the old page is answered: still one trial open, and no more than n."""
    study = make.preferences(4, k=2, trials_per_person=1, conditions="together")
    person = make.participant(study)
    old = claims.claim_next(person)
    claims.return_open(person)
    Trial.objects.filter(pk=old.trial_id).update(claims_left=1)  # someone else was faster once …
    new = claims.claim_next(person)
    assert new.trial_id != old.trial_id
    submit(assignment=old, submission=uuid.uuid4(), payload={"choice": "a"})
    states = dict(Assignment.objects.values_list("pk", "state"))
    assert (states[old.pk], states[new.pk]) == ("answered", "returned")
    assert next_step(person).kind != "trial"
    with pytest.raises(TrialTaken):  # … and the newer page comes too late: one trial a person
        submit(assignment=new, submission=uuid.uuid4(), payload={"choice": "a"})
    assert Trial.objects.get(pk=new.trial_id).claims_left == 2


def test_a_late_answer_does_not_show_an_image_twice():
    study = DESIGNS["within, image once"]()
    person = make.participant(study)
    old = claims.claim_next(person)
    claims.return_open(person)
    twin = Trial.objects.filter(image=old.trial.image_id).exclude(arm=old.trial.arm_id).first()
    # The same image in another condition, answered in between.
    other = Assignment.objects.create(
        participant=person, trial=twin, order=[0, 1], lease_until=timezone.now() + claims.LEASE
    )
    Trial.objects.filter(pk=twin.pk).update(claims_left=1)
    submit(assignment=other, submission=uuid.uuid4(), payload={"choice": "a"})
    with pytest.raises(TrialTaken):
        submit(assignment=old, submission=uuid.uuid4(), payload={"choice": "a"})
    assert Trial.objects.get(pk=old.trial_id).claims_left == 2


def play(person: Participant) -> list[Assignment]:
    """All main trials that the person is given, answered one after the other."""
    given = []
    while (page := claims.claim_next(person)) is not None:
        submit(assignment=page, submission=uuid.uuid4(), payload=answer_to(page))
        given.append(page)
    return given


def test_lists_are_answered_in_their_order():
    study = DESIGNS["lists"]()
    for _ in range(4):
        person = make.participant(study)
        entries = ListEntry.objects.filter(trial_list=person.trial_list_id).order_by("position")
        assert [page.trial_id for page in play(person)] == list(entries.values_list("trial_id", flat=True))


def test_blocks_stay_together_and_begin_in_turn():
    study = DESIGNS["k, blocks"]()
    begun = []
    for _ in range(2):
        blocks = [page.trial.block for page in play(make.participant(study))]
        assert len(blocks) == 6
        changes = [block for block, before in zip(blocks, [None, *blocks], strict=False) if block != before]
        assert len(changes) == 3, f"a block was left and taken up again: {blocks}"
        begun.append(blocks[0])
    assert begun == [0, 1]


def test_conditions_of_one_person_stay_within_one_of_each_other():
    study = DESIGNS["within, image once"]()
    met: Counter[int] = Counter(dict.fromkeys(study.arms.values_list("pk", flat=True), 0))
    for page in play(make.participant(study)):
        met[page.trial.arm_id] += 1
        assert max(met.values()) - min(met.values()) <= 1
    assert sum(met.values()) == 4
