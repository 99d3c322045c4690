"""The study builder's form is flat: every control has the name that refusals use, `exit.2.question`.

Rows of a list (pages, questions, groups) are numbered; a row may be added, taken out or moved without losing what was
typed in the others. What stands in German carries the row's name and `.de`, and so moves along with it.
"""

from collections.abc import Mapping
from typing import Any

from django.utils.datastructures import MultiValueDict

from harmony.inputs import Input, from_field
from mlcore.catalogue.fields import Field

YES, NO = "yes", "no"
Values = dict[str, str]


def typed(data: MultiValueDict) -> Values:
    """The last value of every name: a ticked box comes after the hidden “no” of the same name."""
    return {name: str(data.get(name, "")) for name in data}


def word(value: bool) -> str:
    return YES if value else NO


def rows(values: Mapping[str, str], name: str) -> list[Values]:
    """The rows of a list in their order: `name.3.text` → a row with the key `text`. Gaps in the numbers close."""
    found: dict[int, Values] = {}
    for key, value in values.items():
        if not key.startswith(f"{name}."):
            continue
        number, dot, rest = key[len(name) + 1 :].partition(".")
        if dot and number.isdigit() and len(number) < 6:
            found.setdefault(int(number), {})[rest] = value
    return [found[number] for number in sorted(found)]


def put_rows(values: Values, name: str, kept: list[Values]) -> None:
    """Write the rows back, numbered from 0."""
    for key in [key for key in values if key.startswith(f"{name}.")]:
        del values[key]
    for number, row in enumerate(kept):
        values.update({f"{name}.{number}.{key}": value for key, value in row.items()})


def act(values: Values, action: str, fresh: Mapping[str, Values]) -> bool:
    """Carry out `introduction.add`, `exit.2.up`, `exit.2.down` or `exit.2.remove`; whether it was one of these.

    `fresh` holds a new row for each list that there is.
    """
    name, _, rest = action.partition(".")
    if name not in fresh:
        return False
    kept = rows(values, name)
    if rest == "add":
        kept.append(dict(fresh[name]))
    else:
        number, _, verb = rest.partition(".")
        if not number.isdigit() or int(number) >= len(kept):
            return False
        place = int(number)
        if verb == "remove":
            del kept[place]
        elif verb in ("up", "down"):
            other = place + (1 if verb == "down" else -1)
            if 0 <= other < len(kept):
                kept[place], kept[other] = kept[other], kept[place]
        else:
            return False
    put_rows(values, name, kept)
    return True


def line(field: Field, values: Mapping[str, Any], errors: Mapping[str, str], prefix: str = "") -> Input:
    """A line of the form; only an error of exactly this name stands under it."""
    name = f"{prefix}{field.name}"
    made = from_field(field, values, {name: errors[name]} if name in errors else {}, prefix=prefix)
    if made.default == "":
        made.default = None  # an empty default is nothing to tell
    return made


def cleaned(
    fields: tuple[Field, ...], values: Mapping[str, str], errors: dict[str, str], prefix: str = ""
) -> dict[str, Any]:
    """What was typed in the fields' own types, defaults where nothing was; what is wrong goes into `errors` by name."""
    found: dict[str, Any] = {}
    for field in fields:
        name = f"{prefix}{field.name}"
        value = values.get(name)
        if value is not None and field.kind in ("int", "float") and not value.strip():
            value = None
        try:
            found[field.name] = field.clean(value)
        except ValueError as error:
            errors[name] = str(error)
            found[field.name] = field.default
    return found
