"""A form in which the objective, the metric or the labels an image are chosen anew: what was a default of the other
choice follows."""

from collections.abc import Mapping
from typing import Any

from mlcore.catalogue import several
from mlcore.catalogue.objectives import OBJECTIVES
from mlcore.catalogue.recipe_fields import TRAIN
from mlcore.catalogue.tuning import PUBLISHED_WITH_MASKS

CHOICES: tuple[Mapping[str, Any], ...] = (
    {},
    PUBLISHED_WITH_MASKS,
    several.START,
    several.PUBLISHED,
    *(spec.published for spec in OBJECTIVES.values()),
)


def follow(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a form in which one of these was chosen anew: what stood at another choice's default goes."""
    plain = {field.name: field.default for field in (*OBJECTIVES["grid"].fields, *TRAIN)}
    left = dict(values)
    for name in {name for known in CHOICES for name in known}:
        if name in left and any(_same(left[name], known.get(name, plain[name])) for known in CHOICES):
            del left[name]
    return left


def _same(typed: Any, default: Any) -> bool:
    if isinstance(default, bool):
        return str(typed).strip().lower() in (("yes", "true", "1", "on") if default else ("no", "false", "0", "off"))
    try:
        return float(typed) == float(default)
    except (TypeError, ValueError):
        return str(typed).strip() == str(default)
