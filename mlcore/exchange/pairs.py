"""Attribution pairs: which images a person is asked about, and both classifiers' maps of them (definitions §5).

A cell is metric × classifier × method. An image enters it where both classifiers are right about it and both maps can
be shown; the images of cells that are made together are disjoint, in the order of the partition's part.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from mlcore.catalogue.learnable import LEARNABLE
from mlcore.exchange.pair_scores import Values, scores_of
from mlcore.exchange.writing import SOURCE
from mlcore.models import (
    AttributionPair,
    AuditEntry,
    Explanation,
    ExplanationSet,
    Image,
    ImageLabel,
    PairSet,
    Partition,
    Prediction,
    Run,
)
from mlcore.models.partitions import Part

__all__ = ["USUAL", "Cell", "PairsRefused", "make_pairs"]

USUAL = 200  # pairs of a cell
# What both sets of maps must have in common, so that they differ by the tuning alone.
SAME = ("method", "layer", "preset", "options", "transform", "code_version")
TUNED_ON = (Part.TRAIN.value, Part.POOL.value, Part.VALIDATION.value)


class PairsRefused(ValueError):
    """The pairs cannot be made as asked; the text is the sentence for the person."""


@dataclass(frozen=True)
class Cell:
    """What the tuned classifier was tuned for, and both sets of maps."""

    metric: str
    original: ExplanationSet
    tuned: ExplanationSet

    @property
    def name(self) -> str:
        """Metric, original classifier and method, at most as long as an arm's name may be."""
        title = LEARNABLE[self.metric].name if self.metric in LEARNABLE else self.metric
        return f"{title} · {str(self.original.classifier)[:40]} · {self.original.method}"[:80]


@dataclass
class _Chosen:
    """The pairs of one cell in order, and why other images of the part are not among them: reason → number."""

    pairs: list[tuple[Explanation, Explanation]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    agreement: float | None = None


@transaction.atomic
def make_pairs(
    cells: Sequence[Cell], *, partition: Partition, part: str = "test", n: int = USUAL, owner: Any = None
) -> list[PairSet]:
    """A pair set for each cell, with at most `n` pairs; fewer where the part has no more such images.

    Both classifiers must have been asked about the part's images (predictions) and have maps of the true class there.
    `before` and `after` are the metric's own values of both maps, where one score run's options judged both sets.
    Raises PairsRefused with a sentence; then nothing is written.
    """
    if isinstance(n, bool) or n < 1:
        raise PairsRefused("A cell has at least one pair.")
    if not cells:
        raise PairsRefused("Choose what is compared: the maps of an original and of a tuned classifier.")
    if part not in Part.values:
        raise PairsRefused(f"There is no part “{part}”. Parts: {', '.join(Part.values)}.")
    for cell in cells:
        _check(cell, partition)
    members = list(partition.members.filter(part=part).select_related("image").order_by("id"))
    images = [member.image for member in members]
    if not images:
        raise PairsRefused(f"The part “{Part(part).label}” of “{partition.name}” holds no images.")
    labels = _labels(images)
    taken: set[int] = set()
    place, made = 0, []
    for cell in cells:
        chosen, place = _choose(cell, images, labels, taken, place, n)
        if not chosen.pairs:
            raise PairsRefused(_nothing(cell, part, chosen.left_out))
        made.append(_write(cell, chosen, partition, part, n, len(images), owner))
    return made


def _check(cell: Cell, partition: Partition) -> None:
    if cell.metric not in LEARNABLE:
        raise PairsRefused(f"“{cell.metric}” is no metric to tune for. Known: {', '.join(LEARNABLE)}.")
    original, tuned = cell.original, cell.tuned
    if original.classifier_id == tuned.classifier_id:
        raise PairsRefused(f"Both sets of maps are of “{original.classifier}”; a pair needs two classifiers.")
    for one in (original, tuned):
        if one.target != ExplanationSet.Target.TRUE:
            raise PairsRefused(
                f"“{one}” explains {one.get_target_display()}; people are shown maps of the true class. "
                "Explain the images again with the target “true”."
            )
        if one.image_set_id != partition.image_set_id:
            raise PairsRefused(f"“{one}” explains other images than those of “{partition}”.")
        if list(one.classifier.classes) != list(partition.image_set.classes):
            raise PairsRefused(f"“{one.classifier}” knows other classes than “{partition.image_set}” has.")
    for name in SAME:
        if getattr(original, name) != getattr(tuned, name):
            what = "were made by different versions of the method" if name == "code_version" else f"differ in {name}"
            raise PairsRefused(
                f"The maps of “{original.classifier}” and “{tuned.classifier}” {what}, so that a choice would say "
                "more than what the tuning did. Explain both in one way."
            )


def _labels(images: Sequence[Image]) -> dict[int, int]:
    """The label of each image that has exactly one."""
    said: dict[int, list[int]] = defaultdict(list)
    rows = ImageLabel.objects.filter(image__in=_members_of(images), source=SOURCE)
    for image, index in rows.values_list("image_id", "index"):
        said[image].append(index)
    return {image: found[0] for image, found in said.items() if len(found) == 1}


def _members_of(images: Sequence[Image]) -> Any:
    # By the set: a list of a thousand keys is more than a statement may hold.
    return Image.objects.filter(image_set=images[0].image_set_id).values("pk")


def _choose(
    cell: Cell, images: Sequence[Image], labels: Mapping[int, int], taken: set[int], start: int, n: int
) -> tuple[_Chosen, int]:
    """From `start` on, round the part; and where the next cell starts."""
    facts = _Facts.of(cell, images, labels)
    chosen = _Chosen(agreement=facts.agreement(images))
    after = start
    for step in range(len(images)):
        place = (start + step) % len(images)
        image = images[place]
        reason = facts.reason(image) or ("shown in another cell" if image.pk in taken else "")
        if reason:
            chosen.left_out[reason] += 1
        elif len(chosen.pairs) < n:
            chosen.pairs.append((facts.original[image.pk], facts.tuned[image.pk]))
            taken.add(image.pk)
            after = place + 1
    return chosen, after % len(images)


@dataclass(frozen=True)
class _Facts:
    """What one cell knows of the part's images, by the image's key."""

    labels: Mapping[int, int]
    original: Mapping[int, Explanation]
    tuned: Mapping[int, Explanation]
    before: Mapping[int, int]
    after: Mapping[int, int]
    used: frozenset[str]

    @classmethod
    def of(cls, cell: Cell, images: Sequence[Image], labels: Mapping[int, int]) -> _Facts:
        sets = (cell.original, cell.tuned)
        maps = [{row.image_id: row for row in Explanation.objects.filter(set=one)} for one in sets]
        said = [
            dict(
                Prediction.objects.filter(classifier=one.classifier_id, image__in=_members_of(images)).values_list(
                    "image_id", "label"
                )
            )
            for one in sets
        ]
        return cls(labels, maps[0], maps[1], said[0], said[1], _used(cell.tuned))

    def reason(self, image: Image) -> str:
        """Why the image cannot be shown; empty where it can."""
        pk = image.pk
        if str(image.uuid) in self.used:
            return "trained or selected the tuned classifier"
        if pk not in self.labels:
            return "no label, or several"
        for whose, said, maps in (("original", self.before, self.original), ("tuned", self.after, self.tuned)):
            if pk not in said:
                return f"no prediction of the {whose} classifier"
            if said[pk] != self.labels[pk]:
                return f"the {whose} classifier is wrong"
            found = maps.get(pk)
            if found is None or found.payload != Explanation.Payload.MAP:
                return f"no map of the {whose} classifier"
            if found.status != Explanation.Status.OK:
                return f"the {whose} classifier's map is {found.get_status_display()}"
        return ""

    def agreement(self, images: Sequence[Image]) -> float | None:
        """Share of the images on which both say the same, over those that both were asked about."""
        both = [image.pk for image in images if image.pk in self.before and image.pk in self.after]
        return sum(self.before[pk] == self.after[pk] for pk in both) / len(both) if both else None


def _used(tuned: ExplanationSet) -> frozenset[str]:
    """Images (UUIDs) that the tuning learned from or was selected by: they never enter a study (definitions §5)."""
    run: Run | None = tuned.classifier.run
    manifest = run.manifest if run is not None else {}
    return frozenset(entry[0] for part in TUNED_ON for entry in manifest.get(part, ()))


def _nothing(cell: Cell, part: str, left_out: Mapping[str, int]) -> str:
    reasons = "; ".join(f"{number}: {reason}" for reason, number in sorted(left_out.items(), key=lambda it: -it[1]))
    hint = ""
    if left_out.get("shown in another cell"):
        hint = " Choose fewer pairs for each cell, so that the images suffice for all."
    elif any(reason.startswith("no ") for reason in left_out):
        hint = " Explain the part's images with both classifiers first, with the target “true”."
    return f"No image of the part “{Part(part).label}” is left for “{cell.name}” ({reasons}).{hint}"


def _write(cell: Cell, chosen: _Chosen, partition: Partition, part: str, n: int, images: int, owner: Any) -> PairSet:
    values = scores_of(cell.metric, cell.original, cell.tuned, part)
    made = PairSet.objects.create(
        name=cell.name,
        owner=owner if getattr(owner, "pk", None) else None,
        image_set=partition.image_set,
        metric=cell.metric,
        original=cell.original,
        tuned=cell.tuned,
        part=part,
        agreement=chosen.agreement,
        spec={
            "partition": str(partition.uuid),
            "images": images,
            "wanted": n,
            "pairs": len(chosen.pairs),
            "left_out": dict(sorted(chosen.left_out.items())),
            "scores": values.told if values else None,
        },
    )
    AttributionPair.objects.bulk_create(_rows(made, chosen, values), batch_size=500)
    AuditEntry.write(owner, "pairs.make", made, after={"metric": cell.metric, "pairs": len(chosen.pairs)})
    return made


def _rows(made: PairSet, chosen: _Chosen, values: Values | None) -> Iterator[AttributionPair]:
    for position, (original, tuned) in enumerate(chosen.pairs):
        before, after = values.of(original.image_id) if values else (None, None)
        yield AttributionPair(
            set=made,
            position=position,
            image_id=original.image_id,
            original=original,
            tuned=tuned,
            before=before,
            after=after,
        )
