"""A study's answers as rows in memory: what the pure functions of this room count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from django.db.models import Count, QuerySet

from annotation.errors import StudyRefused
from annotation.models import Answer, Assignment, DrawnMap, Judgement, Participant, Study
from annotation.models.studies import Phase


@dataclass(frozen=True)
class Rating:
    """One person's answers about one map."""

    answer: int
    person: str
    image: int
    set: int  # the explanation set that the map belongs to
    necessary: bool
    unnecessary: bool
    quality: float

    @property
    def reasonable(self) -> bool:
        return self.necessary and not self.unnecessary


def checked_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Raises StudyRefused for a kind of people that does not exist. Whoever only looked is never counted."""
    known = [kind for kind in Participant.Kind.values if kind != Participant.Kind.PREVIEW]
    unknown = sorted(set(kinds) - set(known))
    if unknown or not kinds:
        raise StudyRefused(f"Kinds of people are {', '.join(known)}; not “{', '.join(unknown) or 'none'}”.")
    return tuple(kinds)


def counted(studies: Sequence[Study], kinds: Sequence[str]) -> "QuerySet[Answer]":
    """The answers that count: main trials only (never practice or checks), people of these kinds only, and none that
    was set aside."""
    return Answer.objects.filter(
        assignment__state=Assignment.State.ANSWERED,
        assignment__trial__study__in=studies,
        assignment__trial__phase=Phase.MAIN,
        assignment__participant__kind__in=checked_kinds(kinds),
    )


def ratings(studies: Sequence[Study], kinds: Sequence[str]) -> Iterator[Rating]:
    """Every rated map of these reasonability studies, in the order of the answers."""
    said = (
        Judgement.objects.filter(answer__in=counted(studies, kinds), stimulus__isnull=False)
        .order_by("answer", "stimulus")
        .values_list(
            "answer", "answer__assignment__participant__pseudonym", "answer__assignment__trial__image",
            "stimulus__explanation__set", "stimulus", "question", "truth", "number",
        )
    )  # fmt: skip
    for head, rows in groupby(said.iterator(chunk_size=5000), key=lambda row: row[:5]):
        truths: dict[str, bool] = {}
        quality = 0.0
        for *_, question, truth, number in rows:
            if question == "quality":
                quality = float(number or 0)
            else:
                truths[question] = bool(truth)
        answer, person, image, explanation_set, _ = head
        yield Rating(answer, person, image, explanation_set, truths["necessary"], truths["unnecessary"], quality)


def drawn(studies: Sequence[Study], kinds: Sequence[str]) -> "QuerySet[DrawnMap]":
    """The drawn maps of these studies, image by image."""
    return (
        DrawnMap.objects.filter(answer__in=counted(studies, kinds))
        .select_related("answer__assignment__trial__image", "answer__assignment__participant")
        .order_by("answer__assignment__trial__image", "pk")
    )


def people(studies: Sequence[Study], kinds: Sequence[str]) -> dict[str, int]:
    """How many different people answered, by kind. A person with a login counts once over several studies."""
    took_part = Participant.objects.filter(
        pk__in=counted(studies, kinds).values("assignment__participant")
    ).values_list("kind", "user", "pseudonym")
    different = {(kind, user if user is not None else pseudonym) for kind, user, pseudonym in took_part}
    return {kind: sum(1 for found, _ in different if found == kind) for kind in sorted({kind for kind, _ in different})}


def median_milliseconds(studies: Sequence[Study], kinds: Sequence[str]) -> float | None:
    """The median visible time of an answer; None where no time is known."""
    times = counted(studies, kinds).filter(duration_ms__isnull=False).order_by("duration_ms")
    number = times.aggregate(number=Count("pk"))["number"]
    if not number:
        return None
    middle = [
        int(time or 0) for time in times.values_list("duration_ms", flat=True)[(number - 1) // 2 : number // 2 + 1]
    ]
    return sum(middle) / len(middle)
