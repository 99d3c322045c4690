"""What people say to the exit questions, checked against the questions of the plan."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from annotation.errors import AnswerInvalid

SCALE = (1, 7)
MOST_CHARACTERS = 4000


def clean_exit(questions: Sequence[Mapping[str, Any]], values: Any) -> dict[str, Any]:
    """Question's name → value; what was left empty is left out. `values` holds texts, as a form sends them.

    Raises AnswerInvalid with a sentence a question.
    """
    given = values if isinstance(values, Mapping) else {}
    errors: dict[str, str] = {}
    cleaned: dict[str, Any] = {}
    for question in questions:
        name = str(question["name"])
        text = str(given.get(name) or "").replace("\x00", "").strip()
        if not text:
            if question["required"]:
                errors[name] = _("Please answer this question.")
            continue
        try:
            cleaned[name] = _READ[question["kind"]](text, question)
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise AnswerInvalid(errors)
    return cleaned


def _read_text(text: str, question: Mapping[str, Any]) -> str:
    if len(text) > MOST_CHARACTERS:
        raise ValueError(_("At most %d characters, please.") % MOST_CHARACTERS)
    return text


def _read_number(text: str, question: Mapping[str, Any]) -> float:
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 1e12:
        raise ValueError(_("Write a number, please."))
    return number


def _read_choice(text: str, question: Mapping[str, Any]) -> str:
    if text not in question["choices"]:
        raise ValueError(_("Choose one of the answers, please."))
    return text


def _read_scale(text: str, question: Mapping[str, Any]) -> int:
    least, most = SCALE
    if not text.isdigit() or not least <= int(text) <= most:
        raise ValueError(_("Choose a value from %(least)d to %(most)d, please.") % {"least": least, "most": most})
    return int(text)


def _read_truth(text: str, question: Mapping[str, Any]) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(_("Choose yes or no, please."))
    return text == "yes"


_READ = {
    "text": _read_text,
    "number": _read_number,
    "choice": _read_choice,
    "scale": _read_scale,
    "truth": _read_truth,
}
