"""Methods and metrics that others bring: a module of theirs registers specs, or a file in a folder carries them.

Modules: those that `HARMONY_PLUGINS` names (separated by commas), and the entry points "harmony.plugins" of installed
packages. A module must not import torch: it holds specs, whose dotted paths are followed where torch is at home.
Files: those of the folder `HARMONY_PLUGIN_FOLDER` (mlcore.catalogue.plugin_folder); they are read, not run, so that
they may import what they like.

What fails is skipped, logged, and named in `FAILED`, so that a bad plug-in never stops the pages; what it had
registered before it failed is taken back. docs/extending.md shows both.
"""

import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, TypeVar

from mlcore.catalogue import plugin_folder
from mlcore.catalogue.learnable import LEARNABLE, as_metric
from mlcore.catalogue.methods import METHODS
from mlcore.catalogue.metrics import METRICS
from mlcore.catalogue.objectives import offer_learnable
from mlcore.catalogue.spec import LearnableSpec, MethodSpec, MetricSpec

logger = logging.getLogger(__name__)

GROUP = "harmony.plugins"
FAILED: dict[str, str] = {}
"""Why a plug-in is not here, by its module or file."""

HEAVY = "torch"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

S = TypeVar("S", bound=MethodSpec | MetricSpec)


def register(spec: S) -> S:
    """Make a method, a metric or a learnable metric known under its name. Gives the spec back.

    A learnable metric is a metric of maps too: the one that `plain` names, or else one that its own `evaluate` gives.

    Raises TypeError for what is none of them, and ValueError for a name that cannot stand in an address, a path that
    is no dotted path of a class, a name that another method or metric has already, and a learnable metric that does
    not say which way is better or names a plain one that there is not.
    """
    if not isinstance(spec, MethodSpec | MetricSpec):
        raise TypeError(f"A plug-in registers a MethodSpec or a MetricSpec, not a {type(spec).__name__}.")
    if not _NAME.fullmatch(spec.name):
        raise ValueError(f"“{spec.name}” is no name: small letters, digits and underscores, a letter first, up to 64.")
    if not _PATH.fullmatch(spec.path):
        raise ValueError(f"“{spec.path}” is no dotted path of a class, such as package.module.Class.")
    if isinstance(spec, LearnableSpec):
        return _register_learnable(spec)  # type: ignore[return-value]
    known: dict[str, Any] = METHODS if isinstance(spec, MethodSpec) else METRICS
    _refuse_taken(known, spec)
    known[spec.name] = spec
    return spec


def _register_learnable(spec: LearnableSpec) -> LearnableSpec:
    if spec.higher_is_better is None:
        raise ValueError(f"“{spec.name}” must say which way is better: higher_is_better is True or False.")
    spec = replace(spec, plain=spec.plain or spec.name)
    _refuse_taken(LEARNABLE, spec)
    if spec.plain == spec.name:
        metric = as_metric(spec)
        _refuse_taken(METRICS, metric, spec.path)
        METRICS[spec.name] = metric
    elif spec.plain not in METRICS:
        raise ValueError(f"“{spec.name}” has the score of “{spec.plain}”, and there is no such metric.")
    LEARNABLE[spec.name] = spec
    offer_learnable()
    return spec


def _refuse_taken(known: dict[str, Any], spec: MethodSpec | MetricSpec, path: str = "") -> None:
    there = known.get(spec.name)
    if there is not None and there.path != spec.path:
        raise ValueError(
            f"“{spec.name}” is {there.title} ({there.path}) already: give {path or spec.path} another name."
        )


def unregister(name: str) -> None:
    """Forget a method or metric; for tests."""
    METHODS.pop(name, None)
    METRICS.pop(name, None)
    if LEARNABLE.pop(name, None) is not None:
        offer_learnable()


def modules() -> list[str]:
    """Modules of plug-ins, those of HARMONY_PLUGINS first, each once."""
    named = [name.strip() for name in os.environ.get("HARMONY_PLUGINS", "").split(",") if name.strip()]
    return list(dict.fromkeys([*named, *(point.module for point in metadata.entry_points(group=GROUP))]))


def folder() -> Path | None:
    """The folder of plug-in files; None where there is none."""
    named = os.environ.get("HARMONY_PLUGIN_FOLDER", "").strip()
    return Path(named).expanduser().absolute() if named else None


def load() -> None:
    """Take in every plug-in once; a second call changes nothing but tries again those that failed."""
    for module in modules():
        light = HEAVY not in sys.modules
        _attempt(module, lambda module=module: import_module(module))  # type: ignore[misc]
        if light and HEAVY in sys.modules and module not in FAILED:
            logger.warning(
                "The plug-in %s imports %s, which makes every web process large and slow to start: "
                "keep its specs in a module of their own",
                module,
                HEAVY,
            )
    where = folder()
    if where is None:
        return
    if not where.is_dir():
        FAILED[str(where)] = "There is no such folder; HARMONY_PLUGIN_FOLDER names it."
        logger.error("The folder of plug-ins %s is not there", where)
        return
    for file in plugin_folder.files(where):
        _attempt(file.name, lambda file=file: _take_in(file))  # type: ignore[misc]


def _take_in(file: Path) -> None:
    for line, spec in plugin_folder.specs_of(file):
        try:
            register(spec)
        except (TypeError, ValueError) as error:
            raise plugin_folder.Malformed(file, line, str(error)) from error
    plugin_folder.make_importable(file)


def _attempt(name: str, take_in: Callable[[], object]) -> None:
    """Take in one plug-in; where it fails, say so and leave nothing of it."""
    catalogues: tuple[dict[str, Any], ...] = (METHODS, METRICS, LEARNABLE)
    before = [(known, dict(known)) for known in catalogues]
    try:
        take_in()
    except (Exception, SystemExit) as error:
        for known, kept in before:
            # The registries hold on to the dictionary itself, so that it is changed and not replaced.
            known.clear()
            known.update(kept)
        offer_learnable()
        FAILED[name] = str(error) if isinstance(error, plugin_folder.Malformed) else f"{type(error).__name__}: {error}"
        logger.exception("The plug-in %s could not be loaded", name)
    else:
        FAILED.pop(name, None)
