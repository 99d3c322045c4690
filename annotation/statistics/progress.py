"""How far a study is: answers wanted and given, by person and by day."""

import datetime as dt
from dataclasses import dataclass

from django.db.models import Count, Max, Q
from django.db.models.functions import TruncDate

from annotation.models import Assignment, Participant, Study
from annotation.models.studies import Phase


@dataclass(frozen=True)
class PersonProgress:
    pseudonym: str
    kind: str
    answered: int
    newest: dt.datetime | None


@dataclass(frozen=True)
class StudyProgress:
    """`wanted` is None where every trial goes to everyone; then there is no total to reach."""

    trials: int
    wanted: int | None
    answered: int
    open: int
    people: list[PersonProgress]
    per_day: list[tuple[dt.date, int]]

    @property
    def share(self) -> float | None:
        return min(self.answered / self.wanted, 1.0) if self.wanted else None


def study_progress(study: Study) -> StudyProgress:
    """Counts of the main trials. Four queries, whatever the study's size."""
    trials = study.trials.filter(phase=Phase.MAIN).count()
    looking = Participant.Kind.PREVIEW
    assignments = Assignment.objects.filter(trial__study=study, trial__phase=Phase.MAIN).exclude(
        participant__kind=looking
    )
    states = dict(assignments.values_list("state").annotate(number=Count("pk")).order_by())
    answered = Q(assignments__state=Assignment.State.ANSWERED, assignments__trial__phase=Phase.MAIN)
    people = (
        Participant.objects.filter(study=study)
        .exclude(kind=looking)
        .annotate(answers=Count("assignments", filter=answered), newest=Max("assignments__answered", filter=answered))
    )
    days = (
        assignments.filter(state=Assignment.State.ANSWERED)
        .annotate(day=TruncDate("answered"))
        .values_list("day")
        .annotate(number=Count("pk"))
        .order_by("day")
    )
    k = study.answers_per_trial
    return StudyProgress(
        trials=trials,
        wanted=None if k is None else k * trials,
        answered=states.get(Assignment.State.ANSWERED, 0),
        open=states.get(Assignment.State.OPEN, 0),
        people=[PersonProgress(p.pseudonym, p.kind, p.answers, p.newest) for p in people.order_by("pk")],
        per_day=list(days),
    )
