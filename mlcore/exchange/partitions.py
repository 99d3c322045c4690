"""Cutting an image set into parts that are never mixed (definitions §2): by numbers, by shares, or as given.

A cut depends on the seed and on the pictures' content alone, never on the order of import or on row numbers, so
two installations with the same pictures cut alike.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction

from mlcore.exchange.attachments import Names
from mlcore.exchange.parts import part_of
from mlcore.exchange.readers import FILE_COLUMNS, read_table
from mlcore.exchange.report import ImportRefused
from mlcore.models import AuditEntry, Image, ImageLabel, ImageSet, Partition, PartitionMember
from mlcore.models.partitions import Part

BATCH = 1000


class PartitionRefused(ValueError):
    """The cut cannot be made; the text is the sentence for the person."""


def make_partition(
    image_set: ImageSet,
    name: str,
    *,
    fractions: Mapping[str, float] | None = None,
    counts_per_class: Mapping[str, int] | None = None,
    rest: str | None = None,
    seed: int = 0,
    owner: Any = None,
) -> Partition:
    """Cuts every class alike.

    counts_per_class: part → images of each class, taken first. fractions: part → share of the images that are
    left; they add up to 1 unless `rest` names the part for what remains. A class gives each part its share
    rounded up or down, and over all classes the roundings even out. An image with several labels counts for the
    first of them.

    Raises PartitionRefused.
    """
    counts = {_part(part): _count(part, count) for part, count in (counts_per_class or {}).items()}
    shares = {_part(part): _share(part, share) for part, share in (fractions or {}).items()}
    remainder = _part(rest) if rest else None
    if not counts and not shares and remainder is None:
        raise PartitionRefused("Say how many images of each class, or which share of all, each part gets.")
    total = sum(shares.values())
    if total > 1 + 1e-9 or (shares and remainder is None and total < 1 - 1e-9):
        raise PartitionRefused(f"The shares add up to {total:g}; they must add up to 1.")
    if remainder is not None and total < 1:
        shares[remainder] = shares.get(remainder, 0.0) + 1 - total

    classes = _by_class(image_set, seed)
    parts: dict[int, Part] = {}
    carry: dict[Part, float] = dict.fromkeys(shares, 0.0)
    for index in sorted(classes, key=lambda index: (index is None, index or 0)):
        left = list(classes[index])
        if len(left) < sum(counts.values()):
            raise PartitionRefused(
                f"{_class_name(image_set, index)} has {len(left)} images, "
                f"the parts ask for {sum(counts.values())} of each class."
            )
        for part, count in counts.items():
            parts.update(dict.fromkeys(left[:count], part))
            left = left[count:]
        if left and not shares:
            raise PartitionRefused(
                f"{_class_name(image_set, index)} has {len(left)} images more than the parts ask for. "
                "Say which part takes the rest."
            )
        for part, number in _apportion(len(left), shares, carry).items():
            parts.update(dict.fromkeys(left[:number], part))
            left = left[number:]
    spec = {
        "counts_per_class": {str(part): count for part, count in counts.items()},
        "fractions": {_part(part).value: share for part, share in (fractions or {}).items()},
        "rest": str(remainder) if remainder else None,
    }
    return write_partition(image_set, name, parts, seed=seed, spec=spec, owner=owner)


def partition_from_splits(
    image_set: ImageSet, splits: Path | Mapping[str, str], name: str = "given", owner: Any = None
) -> Partition:
    """The cut that the data came with.

    splits: image name → part (train, val, valid, validation, test, pool, …), or a table with the columns file and
    split. Every image of the set must have a part; names of files that are not in the set are passed over.
    Raises PartitionRefused.
    """
    given = _read_splits(splits) if isinstance(splits, Path) else dict(splits)
    images = dict(image_set.images.values_list("name", "pk"))
    names = Names(images)
    parts: dict[int, Part] = {}
    for file, said in given.items():
        found = names.of_file(file)
        part = part_of(said)
        if part is None:
            raise PartitionRefused(f"{file}: “{said}” is not a part. Known: train, annotation_pool, validation, test.")
        if found is None:
            continue
        if parts.setdefault(images[found], part) != part:
            raise PartitionRefused(f"{file} is in two parts, {parts[images[found]]} and {part}.")
    without = sorted(name for name, pk in images.items() if pk not in parts)
    if without:
        shown = ", ".join(without[:5]) + ("…" if len(without) > 5 else "")
        raise PartitionRefused(f"{len(without)} of {len(images)} images have no part: {shown}")
    return write_partition(image_set, name, parts, seed=0, spec={"given": True}, owner=owner)


def _read_splits(path: Path) -> dict[str, str]:
    try:
        table = read_table(path)
    except ImportRefused as error:
        raise PartitionRefused(error.sentence) from error
    file, split = table.first_of(FILE_COLUMNS) or "", table.first_of(("split", "part"))
    if split is None:
        raise PartitionRefused(f"{path.name}: no column says the part. Add a column “split”.")
    found: dict[str, str] = {}
    for row in table.rows:
        if part_of(row[split]) is None:
            raise PartitionRefused(
                f"{path.name}, row {row.number}: “{row[split]}” is not a part. "
                "Known: train, annotation_pool, validation, test."
            )
        if found.setdefault(row[file], row[split]) != row[split]:
            raise PartitionRefused(f"{path.name}, row {row.number}: {row[file]} is in another part above.")
    return found


def _part(name: str) -> Part:
    part = part_of(str(name))
    if part is None:
        raise PartitionRefused(f"“{name}” is not a part. Known: {', '.join(Part.values)}.")
    return part


def _count(part: str, count: int) -> int:
    if isinstance(count, bool) or int(count) != count or count < 0:
        raise PartitionRefused(f"{part}: the number of images must be a whole number, not {count}.")
    return int(count)


def _share(part: str, share: float) -> float:
    if not math.isfinite(share) or not 0 <= share <= 1:
        raise PartitionRefused(f"{part}: a share lies between 0 and 1, not at {share}.")
    return float(share)


def _class_name(image_set: ImageSet, index: int | None) -> str:
    if index is None:
        return "The group without a label"
    return f"The class “{image_set.classes[index]}”" if index < len(image_set.classes) else f"The class {index}"


def _by_class(image_set: ImageSet, seed: int) -> dict[int | None, list[int]]:
    """Image keys by class, each class in an order drawn from the seed and the pictures' hashes."""
    first: dict[int, int] = {}
    labels = ImageLabel.objects.filter(image__image_set=image_set).order_by("id")
    for pk, index in labels.values_list("image_id", "index"):
        first.setdefault(pk, index)
    drawn: dict[int | None, list[tuple[bytes, int]]] = {}
    for pk, digest in Image.objects.filter(image_set=image_set).values_list("pk", "sha256"):
        order = hashlib.sha256(f"{seed}:{digest}".encode()).digest()
        drawn.setdefault(first.get(pk), []).append((order, pk))
    if not drawn:
        raise PartitionRefused(f"“{image_set.name}” holds no images.")
    return {index: [pk for _, pk in sorted(pairs)] for index, pairs in drawn.items()}


def _apportion(size: int, shares: Mapping[Part, float], carry: dict[Part, float]) -> dict[Part, int]:
    """Whole numbers that add up to `size`, each its share rounded down or up.

    Who is rounded up is who was short-changed most so far (`carry`, changed here): with many small classes every
    part still gets its share of the whole.
    """
    exact = {part: share * size for part, share in shares.items()}
    given = {part: math.floor(value + 1e-9) for part, value in exact.items()}
    owed = {part: exact[part] - given[part] + carry[part] for part in shares}
    open_to = [part for part in shares if exact[part] - given[part] > 1e-9]
    for part in sorted(open_to, key=lambda part: -owed[part])[: size - sum(given.values())]:
        given[part] += 1
    for part in shares:
        carry[part] += exact[part] - given[part]
    return given


def write_partition(
    image_set: ImageSet, name: str, parts: Mapping[int, Part], *, seed: int, spec: dict[str, Any], owner: Any
) -> Partition:
    """The row, its members (key of an image → part) and who made it. Raises PartitionRefused."""
    if not name.strip():
        raise PartitionRefused("The partition needs a name.")
    if not parts:
        raise PartitionRefused(f"“{image_set.name}” holds no images.")
    try:
        with transaction.atomic():
            made = Partition.objects.create(image_set=image_set, name=name, seed=seed, spec=spec, owner=owner)
            members = [PartitionMember(partition=made, image_id=pk, part=part) for pk, part in sorted(parts.items())]
            PartitionMember.objects.bulk_create(members, batch_size=BATCH)
            counts = {str(part): number for part, number in sorted(Counter(parts.values()).items())}
            AuditEntry.write(owner, "make_partition", made, after={"parts": counts, "seed": seed, **spec})
    except IntegrityError as error:
        if Partition.objects.filter(image_set=image_set, name=name).exists():
            raise PartitionRefused(
                f"“{image_set.name}” has a partition “{name}” already. A partition is never changed; take another name."
            ) from error
        raise
    return made
