"""A person's way through a study: consent → introduction → practice → qualification → main trials → exit → done.

`next_step` says where a person stands and moves them on over whatever a study does not have; every page of a study
asks it first, so that there is one place that knows the way.
"""

import random
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotation.assignment import claim_next, takes_trials
from annotation.candidates import FREE, left_for
from annotation.completion import finish, is_overdue, time_out_overdue
from annotation.entry import enter, enter_as
from annotation.errors import StudyClosed
from annotation.exit_answers import clean_exit
from annotation.models import Assignment, ExitAnswers, Participant, Study, StudyVersion, Trial
from annotation.models.studies import Phase
from annotation.plan import default_plan
from annotation.progress import Progress, StudyCard, answered, progress, studies_for

__all__ = [
    "Progress",
    "Step",
    "StudyCard",
    "after_answer",
    "answer_exit",
    "answered",
    "end_introduction",
    "enter",
    "enter_as",
    "finish_early",
    "give_consent",
    "in_hand",
    "may_change",
    "next_step",
    "progress",
    "studies_for",
    "try_again",
]

_BEFORE: tuple[str, ...] = (Phase.PRACTICE, Phase.QUALIFICATION)
At = Participant.Phase
Ended = Participant.Outcome


@dataclass(frozen=True)
class Step:
    """`kind`: consent, introduction, trial (see `assignment`), again (a further try at the qualification), exit,
    wait (others hold the last ones, which may come back), done, closed."""

    kind: str
    assignment: Assignment | None = None


def next_step(participant: Participant) -> Step:
    """What the person does next; claims the trial."""
    person = _standing(participant)
    if person.outcome:
        return Step("done")
    if not takes_trials(person):
        return Step("closed")
    version = person.study.version
    plan = version.plan or default_plan()
    if is_overdue(person, plan["people"]["time_limit_minutes"]):
        finish(person, Ended.TIMED_OUT)
        return Step("done")
    if not _has_consented(person, version):
        return Step("consent")
    step = _step(person, plan)
    participant.phase, participant.outcome = person.phase, person.outcome
    participant.completion_code = person.completion_code
    return step


def _standing(participant: Participant) -> Any:
    """The person, with `done_main`, `done_check`, the number of `checks` they meet and whether the study has trials
    of `practice` and `qualification`, in one query."""
    answers = Assignment.objects.filter(participant=OuterRef("pk"), state=Assignment.State.ANSWERED)
    checks = Trial.objects.filter(study=OuterRef("study"), phase=Phase.CHECK).filter(
        Q(arm__isnull=True) | Q(arm=OuterRef("arm")) | Q(study__conditions=Study.Conditions.WITHIN)
    )
    people = Participant.objects.select_related("study__current", "consent_version").annotate(
        done_main=_number(answers.filter(trial__phase=Phase.MAIN)),
        done_check=_number(answers.filter(trial__phase=Phase.CHECK)),
        checks=_number(checks),
        **{phase: Exists(Trial.objects.filter(study=OuterRef("study"), phase=phase)) for phase in _BEFORE},
    )
    return people.get(pk=participant.pk)


def _number(rows: Any) -> Coalesce:
    counted = rows.order_by().annotate(one=Value(1)).values("one").annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted), 0)


def _step(person: Any, plan: dict[str, Any]) -> Step:
    if person.phase == At.CONSENT:
        _move(person, At.INTRODUCTION)
    if person.phase == At.INTRODUCTION:
        if plan["introduction"]:
            return Step("introduction")
        _move(person, At.PRACTICE)
    if person.phase == At.PRACTICE:
        if person.practice and (assignment := claim_next(person, phase=Phase.PRACTICE)) is not None:
            return Step("trial", assignment)
        _move(person, At.QUALIFICATION)
    if person.phase == At.QUALIFICATION:
        if person.qualification and (assignment := claim_next(person, phase=Phase.QUALIFICATION)) is not None:
            return Step("trial", assignment)
        if person.qualification and not _qualifies(person, plan):
            if person.tries + 1 < plan["qualification"]["tries"]:
                return Step("again")
            finish(person, Ended.SCREENED_OUT)
            return Step("done")
        _move(person, At.MAIN)
    if person.phase == At.MAIN and (step := _main(person, plan)) is not None:
        return step
    return _exit(person, plan)


def _move(person: Participant, phase: str) -> None:
    """One step on; whoever comes second finds it done."""
    Participant.objects.filter(pk=person.pk, phase=person.phase, outcome="").update(phase=phase)
    person.phase = phase


# --- consent and introduction ---------------------------------------------------------------------------------------


def _has_consented(person: Participant, version: StudyVersion) -> bool:
    """To this text: a study whose consent was rewritten asks again."""
    if not version.consent:
        return True
    given = person.consent_version
    return given is not None and given.consent_hash == version.consent_hash


@transaction.atomic
def give_consent(participant: Participant, given: bool) -> None:
    """Keeps when the person agreed, and to which text; without agreement the participation ends."""
    person = _locked(participant)
    if person.outcome:
        return
    if not given:
        finish(person, Ended.DECLINED)
        return
    person.consent_at, person.consent_version = timezone.now(), person.study.version
    person.save(update_fields=["consent_at", "consent_version"])
    if person.phase == At.CONSENT:
        _move(person, At.INTRODUCTION)


def end_introduction(participant: Participant) -> None:
    """The last page was read."""
    person = Participant.objects.get(pk=participant.pk)
    if person.phase == At.INTRODUCTION:
        _move(person, At.PRACTICE)


def _locked(participant: Participant) -> Participant:
    rows = Participant.objects.select_for_update(of=("self",), no_key=True).select_related("study__current")
    return rows.get(pk=participant.pk)


# --- qualification --------------------------------------------------------------------------------------------------


def qualification_score(person: Participant) -> tuple[int, int]:
    """Right answers of how many that were graded, in the try at hand."""
    graded = Assignment.objects.filter(
        participant=person,
        state=Assignment.State.ANSWERED,
        trial__phase=Phase.QUALIFICATION,
        answer__correct__isnull=False,
    ).values_list("answer__correct", flat=True)
    marks = list(graded)
    return sum(marks), len(marks)


def _qualifies(person: Participant, plan: dict[str, Any]) -> bool:
    right, of = qualification_score(person)
    return of == 0 or right >= plan["qualification"]["pass_mark"] * of - 1e-9


@transaction.atomic
def try_again(participant: Participant) -> None:
    """The next try: the answers of the last one stay on record, and the same trials are asked again."""
    person = _locked(participant)
    plan = person.study.version.plan or default_plan()
    if person.phase != At.QUALIFICATION or person.outcome or person.tries + 1 >= plan["qualification"]["tries"]:
        return
    if left_for(person, Phase.QUALIFICATION).exists() or _qualifies(person, plan):
        return
    person.assignments.filter(state=Assignment.State.ANSWERED, trial__phase=Phase.QUALIFICATION).update(
        state=Assignment.State.SET_ASIDE
    )
    person.tries += 1
    person.save(update_fields=["tries"])


# --- main trials with checks among them -----------------------------------------------------------------------------


def _main(person: Any, plan: dict[str, Any]) -> Step | None:
    """The next main trial or check; None when the person is through."""
    checks = plan["checks"]
    if person.done_check and checks["on_fail"] == "end" and misses(person) > checks["allowed_misses"]:
        finish(person, Ended.FAILED_CHECKS)
        return Step("done")
    most = person.study.trials_per_person
    through = most is not None and person.done_main >= most
    due = person.done_check < person.checks and _is_due(person, through)
    if due and (assignment := claim_next(person, phase=Phase.CHECK)) is not None:
        return Step("trial", assignment)
    if through:
        return None
    for _ in range(3):
        if (assignment := claim_next(person)) is not None:
            return Step("trial", assignment)
        # Given back at this very moment, or held by people whose time is over: take it.
        if not left_for(person).filter(FREE).exists() and not time_out_overdue(person.study):
            break
    with_others = Assignment.objects.filter(trial=OuterRef("pk"), state=Assignment.State.OPEN).exclude(
        participant__kind=Participant.Kind.PREVIEW
    )
    # One statement sees a trial that is just being given back either with its holder or free: never as gone.
    if not person.is_preview and left_for(person).filter(FREE | Q(Exists(with_others))).exists():
        return Step("wait")
    if not person.done_main and not person.is_preview:
        return Step("done")  # nothing was left for this person; should something come back, it is theirs
    return None


def _is_due(person: Any, through: bool) -> bool:
    """Checks stand one in each of as many equal stretches of the main trials, at a place drawn once a person."""
    if through:
        return True
    total = progress(person).total - person.checks
    rng = random.Random(f"{person.study.seed}/{person.uuid}/checks")
    stretch = max(total, 1) / person.checks
    # Never before the first trial: a check shows whether somebody still looks.
    places = [max(1, int(stretch * (index + rng.random()))) for index in range(person.checks)]
    return person.done_check < sum(place <= person.done_main for place in places)


def misses(person: Participant) -> int:
    """Attention checks that the person did not pass."""
    return Assignment.objects.filter(
        participant=person, state=Assignment.State.ANSWERED, trial__phase=Phase.CHECK, answer__correct=False
    ).count()


# --- the end --------------------------------------------------------------------------------------------------------


def _exit(person: Participant, plan: dict[str, Any]) -> Step:
    asked = plan["exit"] and not ExitAnswers.objects.filter(participant=person).exists()
    if not asked and _stays_open(person, plan):
        return Step("done")
    if person.phase == At.MAIN and not _stays_open(person, plan):
        _move(person, At.EXIT)
    if asked:
        return Step("exit")
    _finish(person, plan)
    return Step("done")


def _stays_open(person: Participant, plan: dict[str, Any]) -> bool:
    """Where accounts share all trials and nobody waits for a code, a trial that comes back later is theirs again."""
    study, completion, people = person.study, plan["completion"], plan["people"]
    promised = completion["personal_code"] or any(completion["codes"].values())
    recruited = people["prolific"] or people["open_link"]
    shared = study.mode == Study.Mode.K and study.trials_per_person is None
    return shared and not promised and not recruited and person.kind == Participant.Kind.HUMAN


def _finish(person: Participant, plan: dict[str, Any]) -> None:
    failed = misses(person) > plan["checks"]["allowed_misses"]
    finish(person, Ended.FAILED_CHECKS if failed else Ended.COMPLETED)


@transaction.atomic
def answer_exit(participant: Participant, values: Any) -> None:
    """Keeps the exit answers, once, and ends the participation. Raises AnswerInvalid with a sentence a question."""
    person = _locked(participant)
    if person.study.state == Study.State.CLOSED:
        raise StudyClosed
    version = person.study.version
    plan = version.plan or default_plan()
    cleaned = clean_exit(plan["exit"], values)
    if not person.outcome:
        ExitAnswers.objects.get_or_create(participant=person, defaults={"version": version, "values": cleaned})
        if not _stays_open(person, plan):
            _finish(person, plan)
    participant.outcome, participant.phase = person.outcome, person.phase
    participant.completion_code = person.completion_code


def finish_early(participant: Participant) -> None:
    """Who waits for others' trials need not: what they have answered is enough."""
    if next_step(participant).kind != "wait":
        return
    with transaction.atomic():
        person = _locked(participant)
        answered_some = person.assignments.filter(state=Assignment.State.ANSWERED, trial__phase=Phase.MAIN).exists()
        if not person.outcome and answered_some:
            _move(person, At.EXIT)


# --- around a trial -------------------------------------------------------------------------------------------------


def after_answer(assignment: Assignment) -> Step:
    """Where the person goes on after an answer."""
    return next_step(assignment.participant)


def may_change(assignment: Assignment) -> bool:
    """Whether an answer may still be changed: a main trial's, that counts, of a study that is live."""
    return (
        assignment.state == Assignment.State.ANSWERED
        and assignment.trial.phase == Phase.MAIN
        and takes_trials(assignment.participant)
    )


def in_hand(assignment: Assignment) -> bool:
    """Whether this is the trial that the person is to answer now, as far as its row and theirs tell; claims nothing."""
    person, version = assignment.participant, assignment.participant.study.version
    limit = (version.plan or default_plan())["people"]["time_limit_minutes"]
    phase = At.MAIN if assignment.trial.phase == Phase.CHECK else assignment.trial.phase
    return (
        assignment.state == Assignment.State.OPEN
        and not person.outcome
        and person.phase == phase
        and takes_trials(person)
        and not is_overdue(person, limit)
        and _has_consented(person, version)
    )
