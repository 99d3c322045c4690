"""What people call the four parts, and what we call them."""

from __future__ import annotations

from mlcore.models.partitions import Part

SPELLINGS: dict[str, Part] = {
    "train": Part.TRAIN,
    "training": Part.TRAIN,
    "val": Part.VALIDATION,
    "valid": Part.VALIDATION,
    "validation": Part.VALIDATION,
    "dev": Part.VALIDATION,
    "test": Part.TEST,
    "testing": Part.TEST,
    "pool": Part.POOL,
    "annotation": Part.POOL,
    "annotation_pool": Part.POOL,
}


def part_of(name: str) -> Part | None:
    """The part that a folder or a cell names, in any case and with spaces or dashes; None where it names none."""
    return SPELLINGS.get(name.strip().lower().replace(" ", "_").replace("-", "_"))
