"""A person's way through a study: the cards of the home page, entering, the next step, how far they are."""

import secrets
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from annotation.assignment import FREE, HELD, claim_next
from annotation.errors import StudyClosed
from annotation.models import Assignment, Participant, Study, StudyVersion, Trial
from annotation.models.studies import RANDOM_KEY_BITS, Phase
from annotation.people import may_answer

RECENT = 30


@dataclass(frozen=True)
class Progress:
    """`total` is the number of the study's trials; with k people a trial, others may take some of them."""

    answered: int
    total: int
    seconds_left: float | None

    @property
    def share(self) -> float:
        return min(self.answered / self.total, 1.0) if self.total else 0.0


@dataclass(frozen=True)
class StudyCard:
    """`action`: start, continue, done (nothing left for now; answers can be changed), closed."""

    study: Study
    version: StudyVersion
    progress: Progress
    action: str


@dataclass(frozen=True)
class Step:
    """`kind`: trial (see `assignment`), done, closed, or wait: others hold the last ones, which may come back."""

    kind: str
    assignment: Assignment | None = None


def studies_for(user: Any) -> list[StudyCard]:
    """Live studies and those that the person took part in, in the order in which they went live; a fixed number of
    queries."""
    if not may_answer(user):
        return []
    people = {person.study_id: person for person in Participant.objects.filter(user=user)}
    studies = list(
        Study.objects.filter(Q(state=Study.State.LIVE) | Q(pk__in=people, state=Study.State.CLOSED)).order_by(
            "published", "pk"
        )
    )
    versions = {version.study_id: version for version in _newest_versions(studies)}
    answered = _answered(people.values())
    times = _recent_times(people.values())
    cards = []
    for study in studies:
        version = versions.get(study.pk)
        if version is None:
            continue
        person = people.get(study.pk)
        done = answered.get(person.pk, 0) if person else 0
        progress = _progress(done, version, times.get(person.pk, []) if person else [])
        cards.append(StudyCard(study, version, progress, _action(study, progress)))
    return cards


def _action(study: Study, progress: Progress) -> str:
    if study.state == Study.State.CLOSED:
        return "closed"
    if progress.total and progress.answered >= progress.total:
        return "done"
    return "continue" if progress.answered else "start"


def enter(user: Any, study: Study) -> Participant:
    """The person's part in the study, begun now if it is live. Raises StudyClosed where there is nothing to enter."""
    person = Participant.objects.filter(study=study, user=user).select_related("study").first()
    if person is not None:
        return person
    if not may_answer(user):
        raise StudyClosed("You have not been asked to take part in studies. Ask the person who sent you here.")
    _refuse_unless_live(study)
    return _begin(study, user=user)


def enter_as(study: Study, pseudonym: str, kind: str, *, order_offset: int | None = None) -> Participant:
    """The part of someone without a login: simulated or imported. The same pseudonym comes back to the same part."""
    person = Participant.objects.filter(study=study, pseudonym=pseudonym, user=None).select_related("study").first()
    if person is not None:
        return person
    _refuse_unless_live(study)
    return _begin(study, pseudonym=pseudonym, kind=kind, order_offset=order_offset)


def _refuse_unless_live(study: Study) -> None:
    if study.state == Study.State.DRAFT:
        raise StudyClosed("This study has not begun yet.")
    if study.state == Study.State.CLOSED:
        raise StudyClosed


def _begin(study: Study, **values: Any) -> Participant:
    """Two tabs that enter at once get the same part: the constraint decides, the loser reads what the winner wrote."""
    order_offset = values.pop("order_offset", None)
    values["order_offset"] = secrets.randbits(RANDOM_KEY_BITS) if order_offset is None else order_offset
    for _ in range(5):
        named = {"pseudonym": f"P-{secrets.token_hex(4)}"} | values
        try:
            with transaction.atomic():
                return Participant.objects.create(study=study, **named)
        except IntegrityError:
            same = {"user": values["user"]} if values.get("user") else {"pseudonym": named["pseudonym"], "user": None}
            person = Participant.objects.filter(study=study, **same).select_related("study").first()
            if person is not None:
                return person
    raise StudyClosed("No free pseudonym was found. Try again.")


def next_step(participant: Participant) -> Step:
    """What the person does next; claims the trial."""
    if participant.study.state != Study.State.LIVE:
        return Step("closed")
    for _ in range(3):
        assignment = claim_next(participant)
        if assignment is not None:
            return Step("trial", assignment)
        if not _left_for(participant).filter(FREE).exists():
            break
        # Given back at this very moment: take it.
    with_others = Assignment.objects.filter(trial=OuterRef("pk"), state=Assignment.State.OPEN)
    return Step("wait" if _left_for(participant).filter(Exists(with_others)).exists() else "done")


def _left_for(participant: Participant) -> "QuerySet[Trial]":
    mine = Assignment.objects.filter(trial=OuterRef("pk"), participant=participant, state__in=HELD)
    arm = Q(arm__isnull=True) if participant.arm_id is None else Q(arm=participant.arm_id)
    return Trial.objects.filter(arm, ~Exists(mine), study=participant.study_id, phase=Phase.MAIN)


def progress(participant: Participant) -> Progress:
    """Answered, of how many, and the seconds that the rest takes at one's own recent pace (None before any answer)."""
    done = _answered([participant]).get(participant.pk, 0)
    times = _recent_times([participant]).get(participant.pk, [])
    return _progress(done, participant.study.version, times)


def answered(participant: Participant) -> "QuerySet[Assignment]":
    """The person's answered trials, newest first, to look at and, until the study closes, to change."""
    return (
        participant.assignments.filter(state=Assignment.State.ANSWERED)
        .select_related("trial__image", "trial__study", "answer")
        .order_by("-answered", "-pk")
    )


def _progress(done: int, version: StudyVersion, times: list[int]) -> Progress:
    total = max(int(version.settings.get("trials", 0)), done)
    left = statistics.median(times) / 1000 * (total - done) if times else None
    return Progress(done, total, left)


def _newest_versions(studies: list[Study]) -> "QuerySet[StudyVersion]":
    return StudyVersion.objects.filter(study__in=studies).order_by("number")


def _answered(people: Iterable[Participant]) -> dict[int, int]:
    counted = Assignment.objects.filter(participant__in=list(people), state=Assignment.State.ANSWERED)
    return dict(counted.values_list("participant").annotate(number=Count("pk")).order_by())


def _recent_times(people: Iterable[Participant]) -> dict[int, list[int]]:
    """The visible milliseconds of each person's newest answers."""
    timed = Assignment.objects.filter(
        participant__in=list(people), state=Assignment.State.ANSWERED, answer__duration_ms__isnull=False
    )
    newest = timed.annotate(
        place=Window(RowNumber(), partition_by=F("participant_id"), order_by=F("pk").desc())
    ).filter(place__lte=RECENT)
    times: dict[int, list[int]] = {}
    for person, milliseconds in newest.values_list("participant_id", "answer__duration_ms").order_by():
        times.setdefault(person, []).append(milliseconds)
    return times
