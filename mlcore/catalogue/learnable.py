"""Metrics that a copy of a classifier can be tuned for (definitions §5), each with the metric of the same score."""

import math
from typing import Any

from mlcore.catalogue.fields import Field
from mlcore.catalogue.metrics import METRICS
from mlcore.catalogue.spec import LearnableSpec, MetricSpec

GROUP = "Term"
HARMONY = "HARMONY; definitions §5"
COMBINED = "combined"


def _of(plain: str, name: str, path: str, summary: str, weight: float, **more: object) -> LearnableSpec:
    """A learnable metric whose score is the plain metric's."""
    spec = METRICS[plain]
    return LearnableSpec(
        name,
        str(more.pop("title", spec.title)),
        f"mlcore.metrics.learnable.{path}",
        summary,
        HARMONY,
        needs=spec.needs,
        higher_is_better=spec.higher_is_better,
        unit=spec.unit,
        stochastic=spec.stochastic,
        costly=spec.costly,
        plain=plain,
        term_weight=weight,
        **more,  # type: ignore[arg-type]
    )


LEARNABLE: dict[str, LearnableSpec] = {
    spec.name: spec
    for spec in (
        _of(
            "focus", "focus", "focus.Focus",
            "On a mosaic of four pictures, the map lies on the one whose class it is about.", 0.01,
        ),
        _of(
            "content_heat_map", "rma", "rma.RMA", "The map's mass lies on the object (mask or boxes).", 0.05,
            title="Relevance mass accuracy (RMA)", gradient_norm=1.0, trained_with=("mask",),
        ),
        _of("road", "road", "road.ROAD", "Filling in the most relevant pixels lowers the class's probability.", 0.1),
        _of("irof", "irof", "irof.IROF", "Removing the most relevant segments lowers the class's probability.", 0.1),
        _of(
            "input_stability", "input_stability", "stability.InputStability",
            "The map stays as it is under small noise.", 5e-6,
        ),
        _of(
            "relative_input_stability", "relative_input_stability", "stability.RelativeInputStability",
            "The map changes no more than the picture does, by L2 norms.", 5e-6,
        ),
        _of("complexity", "complexity", "complexity.Complexity", "The map is small and sparse.", 0.1),
        LearnableSpec(
            COMBINED,
            "Combined",
            "mlcore.metrics.learnable.combined.Combined",
            "A weighted sum of the others, each by its own weight.",
            HARMONY,
            needs=("map", "model", "method"),
            higher_is_better=True,
            unit="",
            costly=True,
            plain=COMBINED,
            fields=(
                Field(
                    "parts", "Metrics and weights", "text", "rma=0.05,focus=0.01",
                    "name=weight, separated by commas; the weight is that of the metric's term.", group=GROUP,
                ),
            ),
            trained_with=("mask",),
        ),
    )
}  # fmt: skip
"""By name. A researcher's own is added by a plug-in (mlcore.catalogue.plugins)."""


def as_metric(spec: LearnableSpec) -> MetricSpec:
    """A learnable metric as a metric of maps, for score runs: its own `evaluate` gives the values."""
    masked = "mask" in (*spec.trained_with, *spec.needs)
    return MetricSpec(
        spec.name,
        spec.title,
        f"mlcore.metrics.learnable.plain.of_{spec.name}",
        spec.summary,
        spec.reference,
        needs=("map", *(("mask",) if masked else ()), "model", "method"),
        fields=spec.fields,
        higher_is_better=spec.higher_is_better,
        unit=spec.unit,
        stochastic=spec.stochastic,
        costly=spec.costly,
    )


METRICS[COMBINED] = as_metric(LEARNABLE[COMBINED])


def options_of(name: str, text: str) -> dict[str, Any]:
    """The options that "name=value; name=value" gives to a learnable metric, each in its own type.

    Raises ValueError with a sentence for what cannot be read, for an option that the metric has not, and for a value
    that does not fit it, also in what `parts_of` reads.
    """
    spec = LEARNABLE[name]
    known = {field.name: field for field in (*_fields_of(spec.plain), *spec.fields)}
    found: dict[str, Any] = {}
    for part in (part.strip() for part in text.split(";")):
        if not part:
            continue
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key:
            raise ValueError(f"“{part}” is not an option: write name=value, separated by semicolons.")
        if key not in known:
            has = f"It has {', '.join(known)}." if known else "It has none."
            raise ValueError(f"{spec.title} has no option “{key}”. {has}")
        if key in found:
            raise ValueError(f"The option “{key}” is given twice.")
        try:
            found[key] = known[key].clean(value)
        except ValueError as error:
            raise ValueError(f"{known[key].label}: {error}") from None
    if name == COMBINED and "parts" in found:
        parts_of(found["parts"])
    return found


def parts_of(text: str) -> dict[str, float]:
    """The metrics and weights that "rma=0.05, focus=0.01" puts together for the combined metric.

    Raises ValueError with a sentence where a metric is unknown or given twice, or a weight is no number above 0.
    """
    found: dict[str, float] = {}
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        name, equals, weight = (piece.strip() for piece in part.partition("="))
        if not equals or name not in LEARNABLE or name == COMBINED:
            known = ", ".join(one for one in LEARNABLE if one != COMBINED)
            raise ValueError(f"“{part}” is no metric with its weight, such as rma=0.05. Metrics: {known}.")
        if name in found:
            raise ValueError(f"{LEARNABLE[name].title} is given twice.")
        try:
            number = float(weight)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            raise ValueError(f"The weight of {LEARNABLE[name].title} is a number above 0, not “{weight}”.")
        found[name] = number
    if not found:
        raise ValueError("Combined needs one metric or more, such as rma=0.05.")
    return found


def needs_objects(name: str, text: str = "") -> bool:
    """Whether a metric with these options (as for `options_of`) is trained with objects: masks, boxes, people's maps.

    Raises ValueError as `options_of` and `parts_of` do.
    """
    spec, options = LEARNABLE[name], options_of(name, text)
    if name != COMBINED:
        return "mask" in spec.trained_with
    parts = parts_of(str(options.get("parts", spec.fields[0].default)))
    return any("mask" in LEARNABLE[part].trained_with for part in parts)


def _fields_of(plain: str) -> tuple[Field, ...]:
    return METRICS[plain].fields if plain in METRICS else ()
