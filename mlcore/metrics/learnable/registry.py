"""Learnable metrics by name, imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlcore.attribution.registry import Registry
from mlcore.catalogue.learnable import LEARNABLE as _SPECS
from mlcore.catalogue.learnable import options_of

__all__ = ["LEARNABLE", "make"]

LEARNABLE: Mapping[str, Any] = Registry("learnable metric", _SPECS)


def make(name: str, options: Mapping[str, Any] | str = "") -> Any:
    """A learnable metric by name. options: its own, as a mapping or as "name=value; name=value".

    Raises ValueError with a sentence where there is no such metric, or where it refuses its options.
    """
    if name not in LEARNABLE:
        raise ValueError(f"There is no learnable metric “{name}”; there are {', '.join(sorted(LEARNABLE))}.")
    given = options_of(name, options) if isinstance(options, str) else dict(options)
    try:
        return LEARNABLE[name](**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The metric {_SPECS[name].title} refuses its options: {error}") from error
