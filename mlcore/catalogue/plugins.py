"""Methods and metrics that others bring: a module of theirs registers specs, and every process imports it.

Which modules: those that `HARMONY_PLUGINS` names (separated by commas), and the entry points "harmony.plugins" of
installed packages. A module must not import torch: it holds specs, whose dotted paths are followed where torch is at
home. A module that fails is skipped, logged, and named in `FAILED`, so that a bad plug-in never stops the pages; what
it had registered before it failed is taken back. docs/extending.md shows one.
"""

import logging
import os
import re
import sys
from importlib import import_module, metadata

from mlcore.catalogue.methods import METHODS
from mlcore.catalogue.metrics import METRICS
from mlcore.catalogue.spec import MethodSpec, MetricSpec

logger = logging.getLogger(__name__)

GROUP = "harmony.plugins"
FAILED: dict[str, str] = {}
"""Why a plug-in is not here, by its module."""

HEAVY = "torch"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def register(spec: MethodSpec | MetricSpec) -> MethodSpec | MetricSpec:
    """Make a method or metric known under its name. Gives the spec back.

    Raises TypeError for what is neither, and ValueError for a name that cannot stand in an address, a path that is
    no dotted path of a class, and a name that another method or metric has already.
    """
    if not isinstance(spec, MethodSpec | MetricSpec):
        raise TypeError(f"A plug-in registers a MethodSpec or a MetricSpec, not a {type(spec).__name__}.")
    if not _NAME.fullmatch(spec.name):
        raise ValueError(f"“{spec.name}” is no name: small letters, digits and underscores, a letter first, up to 64.")
    if not _PATH.fullmatch(spec.path):
        raise ValueError(f"“{spec.path}” is no dotted path of a class, such as package.module.Class.")
    known: dict[str, MethodSpec] | dict[str, MetricSpec] = METHODS if isinstance(spec, MethodSpec) else METRICS
    there = known.get(spec.name)
    if there is not None and there.path != spec.path:
        raise ValueError(f"“{spec.name}” is {there.title} ({there.path}) already: give {spec.path} another name.")
    known[spec.name] = spec  # type: ignore[index,assignment]
    return spec


def unregister(name: str) -> None:
    """Forget a method or metric; for tests."""
    METHODS.pop(name, None)
    METRICS.pop(name, None)


def modules() -> list[str]:
    """Modules of plug-ins, those of HARMONY_PLUGINS first, each once."""
    named = [name.strip() for name in os.environ.get("HARMONY_PLUGINS", "").split(",") if name.strip()]
    return list(dict.fromkeys([*named, *(point.module for point in metadata.entry_points(group=GROUP))]))


def load() -> None:
    """Import every plug-in once; a second call changes nothing but tries again those that failed."""
    for module in modules():
        methods, metrics = dict(METHODS), dict(METRICS)
        light = HEAVY not in sys.modules
        try:
            import_module(module)
        except (Exception, SystemExit) as error:
            _restore(METHODS, methods)
            _restore(METRICS, metrics)
            FAILED[module] = f"{type(error).__name__}: {error}"
            logger.exception("The plug-in %s could not be loaded", module)
        else:
            FAILED.pop(module, None)
        if light and HEAVY in sys.modules:
            logger.warning(
                "The plug-in %s imports %s, which makes every web process large and slow to start: "
                "keep its specs in a module of their own",
                module,
                HEAVY,
            )


def _restore(known: dict, before: dict) -> None:
    """The registries hold on to the dictionary itself, so that it is changed and not replaced."""
    known.clear()
    known.update(before)
