"""The outcome of a classification by comparison, read from its run: what page, downloads and command show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlcore.catalogue.matchers import MATCHERS
from mlcore.models import ExplanationSet, Run
from mlcore.runs.correspond_sets import gallery_of

HEAD = "head"
NO_CLASS = -1
SHOWN_CLASSES, SHOWN_PAIRS = 12, 15


@dataclass(frozen=True)
class Share:
    """So many of n images, with Wilson's 95 % interval where it is told."""

    right: int
    n: int
    low: float | None = None
    high: float | None = None

    @property
    def value(self) -> float | None:
        return self.right / self.n if self.n else None

    @property
    def percent(self) -> str:
        return percent(self.value)

    @property
    def interval(self) -> tuple[str, str] | None:
        return None if self.low is None or self.high is None else (percent(self.low), percent(self.high))


@dataclass
class Way:
    """One way of deciding. first: how often the first neighbour alone is right."""

    name: str
    accuracy: Share
    first: Share | None
    told: dict[str, Any]
    explained: ExplanationSet | None = None
    best: bool = False

    @property
    def title(self) -> str:
        return way_title(self.name)

    @property
    def sure(self) -> tuple[str, str]:
        """Mean confidence where it is right, and where it is wrong, in per cent."""
        return percent(self.told.get("confidence_right")), percent(self.told.get("confidence_wrong"))

    @property
    def unfinished(self) -> int | None:
        """Comparisons that had not converged when they were stopped; None where nothing is iterated."""
        compared = self.told.get("compared")
        return None if compared is None else int(compared) - int(self.told["converged"])

    @property
    def milliseconds(self) -> float | None:
        return self.told.get("milliseconds")

    @property
    def unknown(self) -> int:
        """Images whose class the head does not know by name."""
        return int(self.told.get("unknown") or 0)


@dataclass
class ClassRow:
    """A class of the gallery: images of it, and how often each way is right. name: as the gallery calls it."""

    label: int
    name: str
    n: int
    shares: list[Share | None]


@dataclass
class Change:
    """What another way of deciding changes: `mended` from wrong to right, `broken` from right to wrong."""

    before: str
    after: str
    n: int
    mended: int
    broken: int
    p: float
    mended_images: list[str]
    broken_images: list[str]

    @property
    def title(self) -> str:
        return f"{way_title(self.before)} → {way_title(self.after)}"

    @property
    def difference(self) -> str:
        """Of the shares of right answers, in points, with its sign."""
        points = 100 * (self.mended - self.broken) / self.n if self.n else 0.0
        return f"{points:+.1f}".replace("-", "−")

    @property
    def shown_p(self) -> str:
        return "< 0.001" if self.p < 0.001 else f"{self.p:.3f}"

    @property
    def clear(self) -> bool:
        return self.p < 0.05


@dataclass
class Confusion:
    """One way's confusion: the most frequent mistakes, and the matrix of the classes that take part in most of them."""

    way: str
    pairs: list[tuple[str, str, int]]
    names: list[str]
    rows: list[tuple[str, list[int], int]]  # class, counts in the order of `names`, images said to be of another class

    @property
    def title(self) -> str:
        return way_title(self.way)


@dataclass
class Outcome:
    """Everything about one run."""

    run: Run
    classes: list[str]
    ways: list[Way]
    per_class: list[ClassRow]
    changes: list[Change]
    confusion: Confusion
    told: dict[str, Any]

    @property
    def queries(self) -> int:
        return int(self.told["queries"])

    @property
    def gallery(self) -> int:
        return int(self.told["gallery"])

    @property
    def left_out(self) -> list[tuple[str, int]]:
        return sorted(self.told["left_out"].items())

    @property
    def files(self) -> dict[str, str]:
        """Endings of what can be downloaded, and what it is called."""
        return {"csv": "CSV", "tex": "LaTeX", "json": "JSON"}

    @property
    def recall(self) -> str:
        found = self.told["search"].get("recall")
        return "" if found is None else percent(found)


def outcome_of(run: Run, *, way: str = "") -> Outcome | None:
    """The outcome of a comparison that succeeded; None for every other run.

    way: whose confusion is shown, by default that of the last way of comparing.
    """
    told = (run.result or {}).get("comparison")
    if run.kind != Run.Kind.CORRESPOND or not told:
        return None
    classes = [str(name) for name in gallery_of(run).classes]
    names = [str(one["name"]) for one in told["ways"]]
    chosen = way if way in names else next((name for name in reversed(names) if name != HEAD), names[-1])
    return Outcome(
        run=run,
        classes=classes,
        ways=_ways(run, told),
        per_class=_per_class(told, classes, names),
        changes=[_change(one) for one in told["changes"]],
        confusion=_confusion(chosen, told["confusion"][chosen], classes),
        told=told,
    )


def way_title(name: str) -> str:
    """As people call it."""
    if name == HEAD:
        return "The classifier's head"
    return MATCHERS[name].title if name in MATCHERS else name.replace("_", " ")


def percent(value: float | None) -> str:
    """0.8125 → “81.3”; nothing known → “–”."""
    return "–" if value is None else f"{100 * value:.1f}"


def _ways(run: Run, told: dict[str, Any]) -> list[Way]:
    sets = {str(made.uuid): made for made in run.explanation_sets.all()}
    found = []
    for one in told["ways"]:
        first = one.get("first_right")
        found.append(
            Way(
                name=one["name"],
                accuracy=Share(one["right"], one["n"], one["low"], one["high"]),
                first=None if first is None else Share(int(first), one["n"], one["first_low"], one["first_high"]),
                told=one,
                explained=sets.get(str(one.get("set"))),
            )
        )
    # The head is judged on the classes that it knows: other images, where it does not know all.
    alike = [way for way in found if way.accuracy.n == found[0].accuracy.n]
    top = max((way.accuracy.right for way in alike), default=0)
    if len({way.accuracy.right for way in alike}) > 1:
        for way in alike:
            way.best = way.accuracy.right == top
    return found


def _per_class(told: dict[str, Any], classes: Sequence[str], names: Sequence[str]) -> list[ClassRow]:
    found = []
    for one in told["per_class"]:
        shares = [Share(one["right"].get(name, 0), one["n"][name]) if name in one["n"] else None for name in names]
        most = max((share.n for share in shares if share is not None), default=0)
        found.append(ClassRow(one["class"], class_name(classes, one["class"]), most, shares))
    return found


def class_name(classes: Sequence[str], label: int) -> str:
    if label == NO_CLASS:
        return "a class that the gallery has not"
    return classes[label] if label < len(classes) else str(label)


def _change(one: dict[str, Any]) -> Change:
    return Change(
        one["from"], one["to"], one["n"], one["mended"], one["broken"], one["p"],
        list(one["mended_images"]), list(one["broken_images"]),
    )  # fmt: skip


def _confusion(way: str, cells: Sequence[Sequence[int]], classes: Sequence[str]) -> Confusion:
    wrong = sorted(((count, true, said) for true, said, count in cells if true != said), key=lambda one: -one[0])
    involved: dict[int, int] = {}
    for count, true, said in wrong:
        for label in (true, said):
            involved[label] = involved.get(label, 0) + count
    shown = sorted(sorted(involved, key=lambda label: (-involved[label], label))[:SHOWN_CLASSES])
    count_of = {(true, said): count for true, said, count in cells}
    rows = []
    for true in shown:
        counts = [count_of.get((true, said), 0) for said in shown]
        other = sum(count for (one, _), count in count_of.items() if one == true) - sum(counts)
        if true != NO_CLASS:
            rows.append((class_name(classes, true), counts, other))
    return Confusion(
        way,
        [(class_name(classes, true), class_name(classes, said), count) for count, true, said in wrong[:SHOWN_PAIRS]],
        [class_name(classes, label) for label in shown],
        rows,
    )
