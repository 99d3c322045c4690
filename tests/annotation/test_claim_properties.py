"""Whatever people do, in whatever order: claims left + open + answered is k, for every trial."""

import uuid
from datetime import timedelta

import pytest
from django.db.models import Count, Q
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from annotation import assignment as claims
from annotation.answers import save_draft, submit
from annotation.errors import TrialTaken
from annotation.models import Assignment, Trial
from tests.annotation import factories as make

PEOPLE = st.integers(0, 3)
HELD = Q(assignments__state__in=["open", "answered"])


class Claiming(RuleBasedStateMachine):
    @initialize(k=st.integers(1, 3), trials=st.integers(1, 3))
    def begin(self, k: int, trials: int) -> None:
        self.k = k
        self.study = make.ratings(trials, k=k)
        self.people = [make.participant(self.study) for _ in range(4)]
        self.pages: list[Assignment] = []

    @rule(who=PEOPLE)
    def claim(self, who: int) -> None:
        given = claims.claim_next(self.people[who])
        if given is not None:
            assert given.participant_id == self.people[who].pk
            self.pages.append(Assignment.objects.get(pk=given.pk))
            return
        # Told that nothing is left: then every trial is the person's own, or held by others under a running lease.
        mine = Assignment.objects.filter(participant=self.people[who], state__in=claims.HELD).values("trial")
        assert not Trial.objects.filter(claims.FREE, study=self.study).exclude(pk__in=mine).exists()

    @rule(which=st.integers(0, 50))
    def answer_from_some_page(self, which: int) -> None:
        """Pages may be old: their leases may have run out, their places may be gone, they may be answered."""
        if not self.pages:
            return
        page = self.pages[which % len(self.pages)]
        try:
            submit(assignment=page, submission=uuid.uuid5(uuid.NAMESPACE_OID, str(page.pk)), payload=make.rating(page))
        except TrialTaken:
            row = Assignment.objects.get(pk=page.pk)
            assert row.state in claims.LOST
            assert Trial.objects.get(pk=row.trial_id).claims_left == 0

    @rule(which=st.integers(0, 50))
    def time_runs_out(self, which: int) -> None:
        if self.pages:
            page = self.pages[which % len(self.pages)]
            Assignment.objects.filter(pk=page.pk).update(lease_until=timezone.now() - timedelta(hours=1))

    @rule(who=PEOPLE)
    def give_back(self, who: int) -> None:
        claims.return_open(self.people[who])

    @rule(which=st.integers(0, 50))
    def keep_a_draft(self, which: int) -> None:
        page = self.pages[which % len(self.pages)] if self.pages else None
        if page is not None and Assignment.objects.get(pk=page.pk).state != "answered":
            try:
                save_draft(page, {"maps": []})
            except TrialTaken:
                assert Trial.objects.get(pk=page.trial_id).claims_left == 0

    @rule()
    def tidy(self) -> None:
        claims.release_expired()

    @invariant()
    def counts_are_exact(self) -> None:
        if not hasattr(self, "study"):
            return
        for trial in Trial.objects.filter(study=self.study).annotate(held=Count("assignments", filter=HELD)):
            assert trial.claims_left + trial.held == self.k
        twice = Assignment.objects.filter(state__in=claims.HELD).values("participant", "trial")
        assert not twice.annotate(number=Count("pk")).filter(number__gt=1).exists()


class TestClaiming(TestCase):
    @pytest.mark.slow
    def test_counts_stay_exact(self) -> None:
        def fresh() -> Claiming:
            Assignment.objects.all().delete()
            return Claiming()

        run_state_machine_as_test(
            fresh,
            settings=settings(
                max_examples=15, stateful_step_count=20, deadline=None, derandomize=True,
                suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
