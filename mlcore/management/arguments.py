"""What the commands share: rows by the name that a person types, options as key=value, refusals as sentences."""

import uuid
from argparse import ArgumentParser
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.core.management.base import CommandError
from django.db.models import Model, Q

from mlcore.models import ImageSet, Partition
from mlcore.runs.start import RunRefused

Row = TypeVar("Row", bound=Model)


def find(model: type[Row], given: str, **where: Any) -> Row:
    """The row with this name or UUID (or the beginning of one). Raises CommandError with a sentence."""
    what = str(model._meta.verbose_name)
    rows = model._default_manager.filter(**where)
    named: Q = Q(pk__in=[])
    try:
        model._meta.get_field("name")
        named |= Q(name=given)
    except FieldDoesNotExist:
        pass
    try:
        named |= Q(uuid=uuid.UUID(given))
    except ValueError:
        if len(given) >= 6 and all(letter in "0123456789abcdef-" for letter in given):
            named |= Q(pk__in=[row.pk for row in rows.only("pk", "uuid") if str(row.uuid).startswith(given)])  # type: ignore[attr-defined]
    found = list(rows.filter(named)[:6])
    if not found:
        names = [str(row) for row in rows[:5]]
        known = f" There are: {', '.join(names)}." if names else f" There is no {what} yet."
        raise CommandError(f"There is no {what} “{given}”.{known}")
    if len(found) > 1:
        those = ", ".join(str(row.uuid)[:8] for row in found)  # type: ignore[attr-defined]
        raise CommandError(f"Several rows of the kind {what} are called “{given}”; give the UUID ({those}).")
    return found[0]


def find_partition(image_set: ImageSet, given: str | None) -> Partition | None:
    """The set's partition of this name; its only one where no name is given."""
    if given:
        return find(Partition, given, image_set=image_set)
    return image_set.partitions.get() if image_set.partitions.count() == 1 else None


def find_owner(username: str | None) -> Any:
    """The user who owns what is made; nobody where none is named."""
    if not username:
        return None
    user = get_user_model()._default_manager.filter(username=username).first()
    if user is None:
        raise CommandError(f"There is no user “{username}”.")
    return user


def add_owner(parser: ArgumentParser) -> None:
    """--owner."""
    parser.add_argument("--owner", metavar="USERNAME", help="the user who owns what is made")


def options_of(pairs: list[str]) -> dict[str, str]:
    """["epochs=3"] → {"epochs": "3"}; the catalogue checks names and values. Raises CommandError."""
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise CommandError(f"“{pair}” is no option: write key=value, such as --option epochs=3.")
        options[key.strip()] = value
    return options


def sentence_of(refused: RunRefused) -> CommandError:
    """A refusal as the command line says it, a line for each field."""
    return CommandError("\n".join(f"{field}: {sentence}" for field, sentence in refused.errors.items()))
