"""How far a person is, and the cards of their home page."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from annotation.models import Assignment, Participant, Study, StudyVersion, Trial
from annotation.models.studies import Phase
from annotation.people import may_answer
from annotation.plan import default_plan

RECENT = 30
_MAIN = (Phase.MAIN, Phase.CHECK)


@dataclass(frozen=True)
class Progress:
    """`phase`: the trials that are counted: practice, qualification or main (with the checks among them).

    `total` is what one person meets at most; where k people answer a trial, others may take some of them.
    """

    answered: int
    total: int
    seconds_left: float | None
    phase: str = Phase.MAIN

    @property
    def share(self) -> float:
        return min(self.answered / self.total, 1.0) if self.total else 0.0


@dataclass(frozen=True)
class StudyCard:
    """`action`: start, continue, done (finished, or nothing left for now), closed."""

    study: Study
    version: StudyVersion
    progress: Progress
    action: str
    participant: Participant | None = None


def studies_for(user: Any) -> list[StudyCard]:
    """Live studies that accounts may enter and those that the person took part in, in the order in which they went
    live; a fixed number of queries. Guests see only their own."""
    parts = Participant.objects.filter(user=user.pk or 0).exclude(kind=Participant.Kind.PREVIEW)
    people = {person.study_id: person for person in parts.select_related("arm", "trial_list")}
    open_to_all = Q(state=Study.State.LIVE) if may_answer(user) else Q(pk__in=[])
    studies = list(
        Study.objects.filter(open_to_all | Q(pk__in=people, state__in=[Study.State.LIVE, Study.State.CLOSED])).order_by(
            "published", "pk"
        )
    )
    versions = {
        version.study_id: version for version in StudyVersion.objects.filter(study__in=studies).order_by("number")
    }
    checks = _number_of_checks(studies)
    lists = _list_lengths(people.values())
    done = _answered(people.values())
    times = _recent_times(people.values())
    cards = []
    for study in studies:
        version, person = versions.get(study.pk), people.get(study.pk)
        if version is None:
            continue
        if person is None and not (version.plan or default_plan())["people"]["accounts"]:
            continue
        pk: int = person.pk if person else 0
        answered = sum(done.get((pk, phase), 0) for phase in _MAIN)
        length = lists.get(pk)
        total = _total(study, person, length) + checks.get(study.pk, 0)
        progress = _progress(answered, total, times.get(pk, []))
        begun = any(done.get((pk, phase), 0) for phase in Phase.values)
        cards.append(StudyCard(study, version, progress, _action(study, person, progress, begun), person))
    return cards


def _action(study: Study, person: Participant | None, progress: Progress, begun: bool) -> str:
    if study.state == Study.State.CLOSED:
        return "closed"
    if (person is not None and person.outcome) or (progress.total and progress.answered >= progress.total):
        return "done"
    return "continue" if begun else "start"


def progress(participant: Participant) -> Progress:
    """Answered, of how many in the phase at hand, and the seconds that the rest takes at one's own recent pace (None
    before any answer)."""
    study, phase = participant.study, participant.phase
    done = _answered([participant])
    if phase in (Phase.PRACTICE, Phase.QUALIFICATION):
        total = _of_phase(participant, phase)
        return Progress(min(done.get((participant.pk, phase), 0), total), total, None, phase)
    answered = sum(done.get((participant.pk, name), 0) for name in _MAIN)
    total = _total(study, participant, _list_lengths([participant]).get(participant.pk))
    total += _of_phase(participant, Phase.CHECK)
    return _progress(answered, total, _recent_times([participant]).get(participant.pk, []))


def _of_phase(participant: Participant, phase: str) -> int:
    trials = Trial.objects.filter(study=participant.study_id, phase=phase)
    if participant.study.conditions == Study.Conditions.BETWEEN:
        trials = trials.filter(Q(arm__isnull=True) | Q(arm=participant.arm_id))
    return trials.count()


def _total(study: Study, person: Participant | None, list_length: int | None) -> int:
    available = study.main_trials
    if list_length is not None:
        available = list_length
    elif person is not None and person.arm is not None:
        available = person.arm.main_trials
    return min(available, study.trials_per_person) if study.trials_per_person else available


def _number_of_checks(studies: list[Study]) -> dict[int, int]:
    """Checks that stand in no condition of their own; those of a condition are counted on the person's pages."""
    counted = Trial.objects.filter(study__in=studies, phase=Phase.CHECK, arm__isnull=True)
    return dict(counted.values_list("study").annotate(number=Count("pk")).order_by())


def _list_lengths(people: Iterable[Participant]) -> dict[int, int]:
    with_list = [person for person in people if person.trial_list_id is not None]
    if not with_list:
        return {}
    counted = Participant.objects.filter(pk__in=[person.pk for person in with_list])
    return dict(counted.values_list("pk").annotate(number=Count("trial_list__entries")).order_by())


def _progress(done: int, total: int, times: list[int]) -> Progress:
    total = max(total, done)
    left = statistics.median(times) / 1000 * (total - done) if times else None
    return Progress(done, total, left)


def _answered(people: Iterable[Participant]) -> dict[tuple[int, str], int]:
    """(person, phase) → answers that stand."""
    counted = Assignment.objects.filter(participant__in=list(people), state=Assignment.State.ANSWERED)
    rows = counted.values_list("participant", "trial__phase").annotate(number=Count("pk")).order_by()
    return {(person, phase): number for person, phase, number in rows}


def _recent_times(people: Iterable[Participant]) -> dict[int, list[int]]:
    """The visible milliseconds of each person's newest answers."""
    timed = Assignment.objects.filter(
        participant__in=list(people), state=Assignment.State.ANSWERED, answer__duration_ms__isnull=False
    )
    newest = timed.annotate(
        recency=Window(RowNumber(), partition_by=F("participant_id"), order_by=F("pk").desc())
    ).filter(recency__lte=RECENT)
    times: dict[int, list[int]] = {}
    for person, milliseconds in newest.values_list("participant_id", "answer__duration_ms").order_by():
        times.setdefault(person, []).append(milliseconds)
    return times


def answered(participant: Participant) -> "QuerySet[Assignment]":
    """The person's answered main trials, newest first, to look at and, until the study closes, to change."""
    return (
        participant.assignments.filter(state=Assignment.State.ANSWERED, trial__phase=Phase.MAIN)
        .select_related("trial__image", "trial__study", "answer")
        .order_by("-answered", "-pk")
    )
