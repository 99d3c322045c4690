"""What the page of a study shows before its result: who has answered how much, balance, and what is doubtful.

A study may have a thousand people and a hundred thousand trials: rows are counted in the database, tables stand in
pages, and the number of queries does not depend on how many there are.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import median
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, F, Max, OuterRef, QuerySet, Subquery
from django.db.models.expressions import Window
from django.db.models.functions import Coalesce, RowNumber

from annotation.models import Answer, Assignment, Participant, Study, Trial
from annotation.models.studies import Phase
from mlcore.models import AuditEntry

PEOPLE_SHOWN = 200
AUDIT_SHOWN = 30
FAST = 1 / 3  # of the median of people's medians
FEWEST_TIMES = 3  # people with medians, below which nobody can be called fast
ANSWERED = Assignment.State.ANSWERED


@dataclass(frozen=True)
class Share:
    """How many trials have this many answers."""

    answers: int
    trials: int
    full: bool


@dataclass(frozen=True)
class StudyProgress:
    """Counts of the main trials; `wanted` is None where every trial is open to everyone."""

    trials: int
    answers: int
    wanted: int | None
    open_now: int
    shares: list[Share]

    @property
    def finished(self) -> bool:
        return self.wanted is not None and self.answers >= self.wanted


@dataclass(frozen=True)
class ArmBalance:
    """A condition: its people who go on or have completed it, those who ended otherwise, and its answers."""

    name: str
    people: int
    ended: int
    answers: int


@dataclass(frozen=True)
class Sides:
    """How often the first condition of a pair stood on the left, over the answered main trials of people."""

    left: int
    total: int

    @property
    def share(self) -> float | None:
        return self.left / self.total if self.total else None


@dataclass(frozen=True)
class Flag:
    """Someone whose answers should be looked at before they are believed."""

    pseudonym: str
    participant: int
    why: str


def progress(study: Study) -> StudyProgress:
    """Two queries, whatever the size of the study."""
    main = Trial.objects.filter(study=study, phase=Phase.MAIN)
    answered = (
        Assignment.objects.filter(trial__study=study, trial__phase=Phase.MAIN, state=ANSWERED)
        .exclude(participant__kind=Participant.Kind.PREVIEW)
        .order_by()
        .values("trial")
        .annotate(n=Count("pk"))
    )
    by_answers = (
        main.annotate(n_answers=Coalesce(Subquery(answered.filter(trial=OuterRef("pk")).values("n")), 0))
        .order_by()
        .values_list("n_answers")
        .annotate(n=Count("pk"))
        .order_by("n_answers")
    )
    k = study.answers_per_trial
    shares = [Share(answers, n, k is not None and answers >= k) for answers, n in by_answers]
    trials = sum(share.trials for share in shares)
    open_now = Assignment.objects.filter(trial__study=study, trial__phase=Phase.MAIN, state=Assignment.State.OPEN)
    return StudyProgress(
        trials=trials,
        answers=sum(share.answers * share.trials for share in shares),
        wanted=trials * k if k else None,
        open_now=open_now.exclude(participant__kind=Participant.Kind.PREVIEW).count(),
        shares=shares,
    )


def taking_part(study: Study) -> "QuerySet[Participant]":
    """Everyone but those who only look."""
    return Participant.objects.filter(study=study).exclude(kind=Participant.Kind.PREVIEW)


def people_page(study: Study, number: str | int = 1) -> Page:
    """A page of people in the order in which they came, each with their answers, missed checks and times."""
    rows = taking_part(study).select_related("arm", "trial_list").order_by("pk")
    page = Paginator(rows, PEOPLE_SHOWN).get_page(number)
    found: list[Any] = list(page.object_list)
    ids = [row.pk for row in found]
    done = Assignment.objects.filter(participant__in=ids, state=ANSWERED).order_by()
    counted = done.filter(trial__phase=Phase.MAIN).values("participant").annotate(n=Count("pk"), last=Max("answered"))
    main = {row["participant"]: (row["n"], row["last"]) for row in counted}
    missed = dict(
        done.filter(trial__phase=Phase.CHECK, answer__correct=False).values_list("participant").annotate(Count("pk"))
    )
    medians = median_seconds(study, ids)
    for row in found:
        row.n_answers, row.last_answer = main.get(row.pk, (0, None))
        row.missed = missed.get(row.pk, 0)
        row.seconds = medians.get(row.pk)
    page.object_list = found
    return page


def kinds_that_answered(study: Study) -> dict[str, int]:
    """Kind of person → answers to main trials."""
    answered = Assignment.objects.filter(trial__study=study, trial__phase=Phase.MAIN, state=ANSWERED).order_by()
    rows = answered.exclude(participant__kind=Participant.Kind.PREVIEW).values_list("participant__kind")
    return dict(rows.annotate(n=Count("pk")))


def median_seconds(study: Study, people: list[int] | None = None) -> dict[int, float]:
    """Participant → the median visible time of their main answers in seconds; one query of at most two rows each.

    The database ranks each person's times and hands over the middle one or two.
    """
    times = Answer.objects.filter(
        assignment__trial__study=study,
        assignment__trial__phase=Phase.MAIN,
        assignment__state=ANSWERED,
        duration_ms__isnull=False,
    ).exclude(assignment__participant__kind=Participant.Kind.PREVIEW)
    if people is not None:
        times = times.filter(assignment__participant__in=people)
    of_person = [F("assignment__participant")]
    middle = (
        times.order_by()
        .annotate(
            rank=Window(RowNumber(), partition_by=of_person, order_by=[F("duration_ms"), F("pk")]),
            number=Window(Count("pk"), partition_by=of_person),
        )
        .filter(rank__gte=(F("number") + 1) / 2, rank__lte=F("number") / 2 + 1)
        .values_list("assignment__participant", "duration_ms")
    )
    found: dict[int, list[int]] = defaultdict(list)
    for person, milliseconds in middle:
        found[person].append(int(milliseconds or 0))
    return {person: sum(values) / len(values) / 1000 for person, values in found.items()}


def outcomes(study: Study) -> list[tuple[str, int]]:
    """How many people ended how; those who go on come first. One query."""
    counted = Counter(dict(taking_part(study).order_by().values_list("outcome").annotate(n=Count("pk"))))
    labels = [("", "going on"), *Participant.Outcome.choices]
    return [(str(label), counted[value]) for value, label in labels if counted[value]]


def balance(study: Study) -> list[ArmBalance]:
    """People and answers of each condition; empty where all stand in one trial. Three queries."""
    arms = list(study.arms.all())
    if not arms:
        return []
    stays = ("", Participant.Outcome.COMPLETED)
    people: dict[int | None, Counter[bool]] = defaultdict(Counter)
    rows = taking_part(study).order_by().values_list("arm", "outcome").annotate(n=Count("pk"))
    for arm, outcome, n in rows:
        people[arm][outcome in stays] += n
    answered = Assignment.objects.filter(trial__study=study, trial__phase=Phase.MAIN, state=ANSWERED).order_by()
    answered = answered.exclude(participant__kind=Participant.Kind.PREVIEW)
    answers = dict(answered.values_list("trial__arm").annotate(n=Count("pk")))
    return [ArmBalance(arm.name, people[arm.pk][True], people[arm.pk][False], answers.get(arm.pk, 0)) for arm in arms]


def sides(study: Study) -> Sides | None:
    """Left and right of pairs; None where trials show no pairs. One query: the order is counted in the database."""
    answered = Assignment.objects.filter(trial__study=study, trial__phase=Phase.MAIN, state=ANSWERED).order_by()
    answered = answered.filter(participant__kind=Participant.Kind.HUMAN)
    counted: Counter[bool] = Counter()
    for order, n in answered.values_list("order").annotate(n=Count("pk")):
        if len(order) != 2:
            return None
        counted[order[0] == 0] += n
    return Sides(counted[True], counted.total()) if counted else None


def flags(study: Study) -> list[Flag]:
    """People who missed more checks than allowed, or whose median time is below a third of the others'.

    “The others'” is the median of all people's medians, once three people have answered. Three queries.
    """
    allowed = (study.version.plan or {}).get("checks", {}).get("allowed_misses", 1)
    missed = (
        Assignment.objects.filter(
            trial__study=study, trial__phase=Phase.CHECK, state__in=(ANSWERED, Assignment.State.SET_ASIDE),
            answer__correct=False, participant__kind=Participant.Kind.HUMAN,
        )
        .order_by()
        .values_list("participant")
        .annotate(n=Count("pk"))
        .filter(n__gt=allowed)
    )  # fmt: skip
    why: dict[int, list[str]] = defaultdict(list)
    for person, n in missed:
        why[person].append(f"missed {n} attention checks, {allowed} allowed")
    times = median_seconds(study)
    if len(times) >= FEWEST_TIMES:
        usual = median(times.values())
        for person, seconds in times.items():
            if seconds < usual * FAST:
                why[person].append(f"{seconds:.1f} s a trial, others {usual:.1f} s")
    names = taking_part(study).filter(pk__in=list(why)[:PEOPLE_SHOWN], kind=Participant.Kind.HUMAN)
    return [
        Flag(pseudonym, pk, "; ".join(why[pk])) for pk, pseudonym in names.order_by("pk").values_list("pk", "pseudonym")
    ]


def audit(study: Study) -> list[AuditEntry]:
    """The newest changes to this study, by whom."""
    rows = AuditEntry.objects.filter(object_type="study", object_id=str(study.uuid)).select_related("actor")
    return list(rows[:AUDIT_SHOWN])


def extra_counts(study: Study) -> dict[str, int]:
    """How many practice, qualification and check trials there are."""
    counted = study.trials.exclude(phase=Phase.MAIN).order_by().values_list("phase").annotate(n=Count("pk"))
    return dict(counted)


def listed(studies: QuerySet) -> QuerySet[Any]:
    """Studies with the numbers of their main trials and answers, for the list."""
    main = Trial.objects.filter(study=OuterRef("pk"), phase=Phase.MAIN)
    trials = main.order_by().values("study").annotate(n=Count("pk"))
    answers = (
        Assignment.objects.filter(trial__study=OuterRef("pk"), trial__phase=Phase.MAIN, state=ANSWERED)
        .exclude(participant__kind=Participant.Kind.PREVIEW)
        .order_by()
        .values("trial__study")
        .annotate(n=Count("pk"))
    )
    return studies.annotate(
        n_trials=Coalesce(Subquery(trials.values("n")), 0), n_answers=Coalesce(Subquery(answers.values("n")), 0)
    )
