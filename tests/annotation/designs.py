"""Live studies of every design, small, and how one answer to them looks."""

from collections.abc import Callable
from typing import Any

from annotation.lists import ListPlan
from annotation.models import Assignment, Study
from annotation.publishing import Group
from tests.annotation import factories as make

PLAN = {"people": {"accounts": True, "open_link": True, "nickname": False}}


def pictures(number: int, classes: int = 1) -> list[Any]:
    """Images of one set, with their labels in turn."""
    image_set = make.ImageSetFactory()
    return [make.ImageFactory(image_set=image_set, label=index % classes) for index in range(number)]


def cells(shown: list[Any], number: int = 3) -> list[Group]:
    """Pairs of maps as conditions: each with the next one, around."""
    sets = [make.explain(shown) for _ in range(max(number, 2))]
    return [Group(f"cell {index}", (sets[index], sets[(index + 1) % len(sets)])) for index in range(number)]


def pairs(number: int = 6, *, arms: int = 3, classes: int = 1, **values: Any) -> Study:
    """A preference study of `arms` cells."""
    shown = values.pop("images", None) or pictures(number, classes)
    return make.preferences(images=shown, groups=cells(shown, arms), plan=values.pop("plan", PLAN), **values)


def single(number: int = 6, *, classes: int = 1, **values: Any) -> Study:
    """A preference study of one pair of maps, side by side."""
    shown = pictures(number, classes)
    return make.preferences(images=shown, conditions="together", plan=values.pop("plan", PLAN), **values)


DESIGNS: dict[str, Callable[[], Study]] = {
    "k": lambda: single(4, k=2),
    "k, so many a person": lambda: single(6, k=2, trials_per_person=3),
    "k, blocks": lambda: single(6, classes=3, k=2, block_by="class", rotate_blocks=True),
    "everyone": lambda: single(4, k=None),
    "within, image once": lambda: pairs(4, k=2),
    "within, so many a person": lambda: pairs(6, k=1, trials_per_person=3),
    "within, images again": lambda: pairs(3, k=1, image_once=False),
    "within, blocks of conditions": lambda: pairs(3, k=2, image_once=False, block_by="condition", rotate_blocks=True),
    "between": lambda: pairs(3, k=2, conditions="between"),
    "lists": lambda: pairs(6, k=None, lists=ListPlan(length=3, repeats=1)),
}


def answer_to(assignment: Assignment, side: str = "a") -> dict[str, Any]:
    """A payload that any page of these studies may send."""
    return {"choice": side}
