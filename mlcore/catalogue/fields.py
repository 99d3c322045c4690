"""One option of a recipe: its type, default, bounds and help; and the check of given values against it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TRUE = {"true", "yes", "on", "1"}
FALSE = {"false", "no", "off", "0", ""}


class RecipeError(ValueError):
    """A recipe that cannot be run; `errors` maps a field's name to a sentence for the person who can mend it."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__(" ".join(f"{name}: {sentence}" for name, sentence in errors.items()))


@dataclass(frozen=True)
class Field:
    """An option. `kind` is int, float, bool, choice, choices or text; bounds are inclusive.

    "choices" is a list of one or more of `choices`, each once, in the order given; as text "a,b".
    """

    name: str
    label: str
    kind: str
    default: Any
    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[tuple[str, str], ...] = ()
    group: str = ""

    def clean(self, value: Any) -> Any:
        """The value in the field's own type. Raises ValueError with one sentence."""
        if self.kind == "choices":
            return self._clean_choices(self.default if value is None else value)
        if value is None:
            return self.default
        if self.kind == "bool":
            return self._clean_bool(value)
        if self.kind in ("int", "float"):
            return self._clean_number(value)
        text = str(value).strip()
        if self.kind == "choice" and text not in dict(self.choices):
            raise ValueError(f"“{text}” is not one of {', '.join(name for name, _ in self.choices)}.")
        return text

    def _clean_choices(self, value: Any) -> list[str]:
        given = value.split(",") if isinstance(value, str) else list(value)
        chosen = list(dict.fromkeys(name for name in (str(item).strip() for item in given) if name))
        known = dict(self.choices)
        for name in chosen:
            if name not in known:
                raise ValueError(f"“{name}” is not one of {', '.join(known)}.")
        if not chosen:
            raise ValueError("Choose at least one.")
        return chosen

    def _clean_bool(self, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        text = str(value).strip().lower()
        if text in TRUE:
            return True
        if text in FALSE:
            return False
        raise ValueError(f"“{value}” is neither yes nor no.")

    def _clean_number(self, value: Any) -> int | float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"“{value}” is not a number.") from None
        if number != number or number in (float("inf"), float("-inf")):
            raise ValueError(f"“{value}” is not a finite number.")
        if self.kind == "int" and number != int(number):
            raise ValueError(f"“{value}” is not a whole number.")
        if self.minimum is not None and number < self.minimum:
            raise ValueError(f"{value} is below the smallest allowed value, {self.minimum:g}.")
        if self.maximum is not None and number > self.maximum:
            raise ValueError(f"{value} is above the largest allowed value, {self.maximum:g}.")
        return int(number) if self.kind == "int" else number


def clean_fields(fields: Sequence[Field], values: Mapping[str, Any]) -> dict[str, Any]:
    """Every field with its value or default, in the fields' order. Raises RecipeError naming each bad field."""
    cleaned: dict[str, Any] = {}
    errors: dict[str, str] = {}
    known = {field.name for field in fields}
    for name in values:
        if name not in known:
            errors[name] = f"There is no option “{name}” here. Known: {', '.join(sorted(known))}."
    for field in fields:
        try:
            cleaned[field.name] = field.clean(values.get(field.name))
        except ValueError as error:
            errors[field.name] = str(error)
    if errors:
        raise RecipeError(errors)
    return cleaned
