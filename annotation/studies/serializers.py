"""Strict fields for answers: nothing is guessed, so nothing that was not answered becomes an answer."""

import json
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from annotation.errors import AnswerInvalid

MOST_EVENTS = 1000
MOST_MILLISECONDS = 24 * 60 * 60 * 1000


class StrictBoolean(serializers.Field):
    """True or false; not "yes", not 1, not null."""

    default_error_messages = {
        "required": _("Choose yes or no."),
        "null": _("Choose yes or no."),
        "strict": _("Choose yes or no."),
    }

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("strict")
        return data

    def to_representation(self, value: bool) -> bool:
        return value


class StrictInteger(serializers.IntegerField):
    """A whole number as JSON has it; not "4", not 4.0, not true."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class EventList(serializers.Field):
    """Lines [milliseconds, what, up to four details]; only the first 1,000 are kept.

    A record that is too long must not cost the answer, so it is cut; one that is malformed is refused.
    """

    default_error_messages = {"invalid": _("The record of events is not a list of [milliseconds, what, …].")}

    def to_internal_value(self, data: Any) -> list[list[Any]]:
        if not isinstance(data, list):
            self.fail("invalid")
        for event in data[:MOST_EVENTS]:
            if not isinstance(event, list | tuple) or not 2 <= len(event) <= 6:
                self.fail("invalid")
            moment, what, *details = event
            if isinstance(moment, bool) or not isinstance(moment, int | float) or not 0 <= moment <= 1e12:
                self.fail("invalid")
            if not isinstance(what, str) or not 0 < len(what) <= 40:
                self.fail("invalid")
            if not all(item is None or isinstance(item, bool | int | float | str) for item in details):
                self.fail("invalid")
            if any(isinstance(item, str) and len(item) > 120 for item in details):
                self.fail("invalid")
        if not fits(data[:MOST_EVENTS], 1 << 20):
            self.fail("invalid")
        return [list(event) for event in data[:MOST_EVENTS]]

    def to_representation(self, value: list) -> list:
        return value


class TimingSerializer(serializers.Serializer):
    """How long the answer took and what happened on the way. A day is the most that is believed."""

    duration_ms = serializers.IntegerField(
        min_value=0, allow_null=True, default=None,
        error_messages={
            "min_value": _("The time cannot be negative."), "invalid": _("The time is not a whole number."),
        },
    )  # fmt: skip
    events = EventList(default=list)

    def validate_duration_ms(self, value: int | None) -> int | None:
        return None if value is None else min(value, MOST_MILLISECONDS)


def flat(errors: Any, prefix: str = "") -> dict[str, str]:
    """DRF's nested errors as `maps.1.quality` → one sentence."""
    if isinstance(errors, Mapping):
        items = [(str(key), value) for key, value in errors.items()]
    elif isinstance(errors, list | tuple) and any(isinstance(item, Mapping) for item in errors):
        items = [(str(index), value) for index, value in enumerate(errors)]
    else:
        sentences = errors if isinstance(errors, list | tuple) else [errors]
        return {prefix or "answer": " ".join(str(sentence) for sentence in sentences)} if sentences else {}
    found: dict[str, str] = {}
    for key, value in items:
        name = prefix if key == "non_field_errors" else f"{prefix}.{key}" if prefix else key
        found |= flat(value, name)
    return found


def checked(serializer: serializers.Serializer) -> dict[str, Any]:
    """The validated data. Raises AnswerInvalid with one sentence a field."""
    if serializer.initial_data is None:
        raise AnswerInvalid({"answer": str(_("Nothing arrived. Answer the questions, then send again."))})
    if not serializer.is_valid():
        raise AnswerInvalid(flat(serializer.errors))
    return dict(serializer.validated_data)


def fits(value: Any, most_bytes: int) -> bool:
    """Whether a database can keep this as JSON: small enough, finite numbers, no NUL and no half characters."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        return "\\u0000" not in text and len(text.encode()) <= most_bytes
    except (TypeError, ValueError, RecursionError):
        return False
