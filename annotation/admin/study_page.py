"""What the page of a study shows before its result: who has answered how much, and how far the trials are."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Avg, Count, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from annotation.models import Assignment, Participant, Study, Trial

PEOPLE_SHOWN = 200


@dataclass(frozen=True)
class Share:
    """How many trials have this many answers."""

    answers: int
    trials: int
    full: bool


@dataclass(frozen=True)
class StudyProgress:
    """Counts of a study; `wanted` is None where every trial is open to everyone."""

    trials: int
    answers: int
    wanted: int | None
    open_now: int
    shares: list[Share]

    @property
    def finished(self) -> bool:
        return self.wanted is not None and self.answers >= self.wanted


def progress(study: Study) -> StudyProgress:
    """Two queries, whatever the size of the study."""
    answered = (
        Assignment.objects.filter(trial=OuterRef("pk"), state=Assignment.State.ANSWERED)
        .order_by()
        .values("trial")
        .annotate(n=Count("pk"))
        .values("n")
    )
    by_answers = (
        Trial.objects.filter(study=study)
        .annotate(n_answers=Coalesce(Subquery(answered), 0))
        .order_by()
        .values_list("n_answers")
        .annotate(n=Count("pk"))
        .order_by("n_answers")
    )
    k = study.answers_per_trial
    shares = [Share(answers, n, k is not None and answers >= k) for answers, n in by_answers]
    trials = sum(share.trials for share in shares)
    return StudyProgress(
        trials=trials,
        answers=sum(share.answers * share.trials for share in shares),
        wanted=trials * k if k else None,
        open_now=Assignment.objects.filter(trial__study=study, state=Assignment.State.OPEN).count(),
        shares=shares,
    )


def people(study: Study) -> list[Any]:
    """Participants with their answers, the mean visible time of one, and when the last one came."""
    done = Q(assignments__state=Assignment.State.ANSWERED)
    rows: list[Any] = list(
        Participant.objects.filter(study=study)
        .annotate(
            n_answers=Count("assignments", filter=done),
            mean_ms=Avg("assignments__answer__duration_ms", filter=done),
            last_answer=Max("assignments__answered", filter=done),
        )
        .order_by("-n_answers", "pseudonym")[:PEOPLE_SHOWN]
    )
    for row in rows:
        row.mean_seconds = None if row.mean_ms is None else row.mean_ms / 1000
    return rows


def listed(studies: QuerySet) -> QuerySet[Any]:
    """Studies with the numbers of their trials and answers, for the list."""
    trials = Trial.objects.filter(study=OuterRef("pk")).order_by().values("study").annotate(n=Count("pk"))
    answers = (
        Assignment.objects.filter(trial__study=OuterRef("pk"), state=Assignment.State.ANSWERED)
        .order_by()
        .values("trial__study")
        .annotate(n=Count("pk"))
    )
    return studies.annotate(
        n_trials=Coalesce(Subquery(trials.values("n")), 0), n_answers=Coalesce(Subquery(answers.values("n")), 0)
    )
