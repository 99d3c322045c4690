"""How good a map or a classifier is: one metric a file (definitions §5, §7).

    from mlcore.metrics import score
    score("content_heat_map", maps, masks=masks)                      # {"value": …, "low": …, "high": …, "n": …}
    score("deletion", maps, images=images, targets=targets, model=model)

or over batches:

    metric = METRICS["content_heat_map"]()
    metric.update(maps, masks, names)
    metric.compute()         # {"metric": …, "value": …, "low": …, "high": …, "n": …, "left_out": {reason: count}}

Importing this package costs nothing; torch is loaded when a metric is first used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlcore.attribution.registry import Registry
from mlcore.catalogue import METRICS as _SPECS

__all__ = ["METRICS", "make", "score"]

METRICS: Mapping[str, Any] = Registry("metric", _SPECS)


def make(name: str, *, model: Any = None, explain: Any = None, **options: Any) -> Any:
    """A metric by name, given the classifier and the method where its spec says that it needs them.

    explain: (images, targets) → maps (B, h, w), such as the `explain` of a method. options: its own (`fields`).
    Raises KeyError for an unknown metric, ValueError where the classifier or the method is missing.
    """
    made = METRICS[name]
    needs = _SPECS[name].needs
    given: dict[str, Any] = {}
    for what, key, value in (("a classifier", "model", model), ("a method", "explain", explain)):
        if ("model" if key == "model" else "method") in needs:
            if value is None:
                raise ValueError(f"{_SPECS[name].title} asks {what} again: give {key}=….")
            given[key] = value
    return made(**given, **options)


def score(
    name: str,
    maps: Any = None,
    *,
    names: Sequence[str] | None = None,
    masks: Any = None,
    people: Any = None,
    images: Any = None,
    targets: Any = None,
    logits: Any = None,
    labels: Any = None,
    classes: Any = None,
    difficult: Any = None,
    model: Any = None,
    explain: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """One metric of one batch, as `compute` gives it, with "per_image" beside it. See `make` for the rest."""
    from mlcore.metrics.base import feed

    metric = make(name, model=model, explain=explain, **options)
    first = next((given for given in (maps, images, logits) if given is not None), ())
    feed(
        metric,
        {
            "maps": maps,
            "names": names if names is not None else [str(number) for number in range(len(first))],
            "masks": masks,
            "people": people,
            "images": images,
            "targets": targets,
            "logits": logits,
            "labels": labels,
            "classes": classes,
            "difficult": difficult,
        },
    )
    return metric.compute() | {"per_image": dict(metric.per_image)}
