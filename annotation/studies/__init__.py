"""The kinds of study: one module each. A module in this package that defines a subclass of Kind is registered."""

import importlib
import inspect
import pkgutil

from annotation.errors import StudyRefused
from annotation.studies.base import Kind


def _discover() -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for _, kind in inspect.getmembers(loaded, inspect.isclass):
            if issubclass(kind, Kind) and kind is not Kind and kind.__module__ == loaded.__name__:
                if kind.name in found:
                    raise RuntimeError(f"Two kinds of study are called “{kind.name}”.")
                found[kind.name] = kind()
    return found


KINDS: dict[str, Kind] = _discover()


def register(kind: Kind) -> None:
    """Add a kind from elsewhere, from an application's `ready` for example. Its template is found as any other."""
    if kind.name in KINDS:
        raise RuntimeError(f"There is a kind of study called “{kind.name}” already.")
    KINDS[kind.name] = kind


def unregister(name: str) -> None:
    """Take a kind out again."""
    KINDS.pop(name, None)


def kind_named(name: str) -> Kind:
    """Raises StudyRefused for a kind that does not exist here."""
    try:
        return KINDS[name]
    except KeyError:
        raise StudyRefused(f"There is no kind of study called “{name}”. Known: {', '.join(sorted(KINDS))}.") from None


def kind_of(study: object) -> Kind:
    return kind_named(study.kind)  # type: ignore[attr-defined]


__all__ = ["KINDS", "Kind", "kind_named", "kind_of", "register", "unregister"]
