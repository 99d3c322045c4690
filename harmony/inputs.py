"""Lines of a form that is made from the catalogue's fields, for runs and studies alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlcore.catalogue.fields import TRUE, Field


@dataclass
class Input:
    """One line of the form."""

    name: str
    label: str
    kind: str
    value: Any
    help: str = ""
    error: str = ""
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    choices: list[tuple[str, str]] = field(default_factory=list)
    suggestions: tuple[str, ...] = ()
    required: bool = False
    switches: bool = False

    @property
    def changed(self) -> bool:
        if self.default is None or str(self.value) == str(self.default):
            return False
        try:
            return float(self.value) != float(self.default)  # 0 and 0.0 are the same number
        except (TypeError, ValueError):
            return True

    @property
    def text(self) -> str:
        """The value as a browser's form wants it, the same in every language."""
        return f"{self.value:.10g}" if isinstance(self.value, float) else str(self.value)

    @property
    def step(self) -> str:
        return "1" if self.kind == "int" else "any"

    @property
    def default_text(self) -> str:
        if self.kind == "bool":
            return "yes" if self.default else "no"
        if self.kind == "choice":
            return dict(self.choices).get(str(self.default), str(self.default))
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


@dataclass
class Group:
    """Fields under one heading; `changed` counts those that differ from their defaults."""

    title: str
    inputs: list[Input]

    @property
    def changed(self) -> int:
        return sum(item.changed for item in self.inputs)

    @property
    def has_errors(self) -> bool:
        return any(item.error for item in self.inputs)


def from_field(
    item: Field, data: Mapping[str, Any], errors: Mapping[str, str], *, default: Any = None, prefix: str = ""
) -> Input:
    """The line of a catalogue field, with the value that stands in `data` under `prefix` + its name."""
    default = item.default if default is None else default
    name = f"{prefix}{item.name}"
    value = data.get(name, default)
    if item.kind == "bool":
        value = str(value).lower() in TRUE
    return Input(
        name, item.label, item.kind, value, item.help, errors.get(name, errors.get(item.name, "")), default,
        item.minimum, item.maximum, list(item.choices),
    )  # fmt: skip


def values(fields: tuple[Field, ...], data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What was typed for these fields; an empty number means its default."""
    return {
        item.name: data[f"{prefix}{item.name}"]
        for item in fields
        if f"{prefix}{item.name}" in data
        and not (item.kind in ("int", "float") and str(data[f"{prefix}{item.name}"]).strip() == "")
    }
