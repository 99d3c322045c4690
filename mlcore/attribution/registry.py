"""Classes that are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from mlcore.catalogue.spec import Spec


class Registry(Mapping[str, Any]):
    """Classes by name, from the dotted paths of specs; each is imported when it is asked for.

    What is registered later is found too.
    """

    def __init__(self, kind: str, specs: Mapping[str, Spec]) -> None:
        self.kind = kind
        self._specs = specs

    def __getitem__(self, name: str) -> Any:
        if name not in self._specs:
            raise KeyError(f"There is no {self.kind} “{name}”; there are {', '.join(sorted(self._specs))}.")
        module, _, attribute = self._specs[name].path.rpartition(".")
        return getattr(import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)
