"""What a run optimises: one objective a file.

    objective = OBJECTIVES["gradia"].from_recipe(recipe)
    objective.prepare(model)
    step = objective.loss(model, batch)

Importing this package costs nothing; torch is loaded when an objective is first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlcore.attribution.registry import Registry
from mlcore.catalogue.objectives import OBJECTIVES as _SPECS

__all__ = ["OBJECTIVES"]

OBJECTIVES: Mapping[str, Any] = Registry("objective", _SPECS)
