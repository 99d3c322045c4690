"""Classes that are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any


class Registry(Mapping[str, Any]):
    """Classes by name, from dotted paths; each is imported when it is asked for."""

    def __init__(self, kind: str, paths: Mapping[str, str]) -> None:
        self.kind = kind
        self._paths = paths

    def __getitem__(self, name: str) -> Any:
        if name not in self._paths:
            raise KeyError(f"There is no {self.kind} “{name}”; there are {', '.join(sorted(self._paths))}.")
        module, _, attribute = self._paths[name].rpartition(".")
        return getattr(import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)
