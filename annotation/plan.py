"""The plan of a study: what happens before, between and after the main trials.

A plan is JSON on the study's version; every part is optional. `clean_plan` fills in defaults and says what is wrong.

    introduction   [{"title": str, "text": Markdown}, …]      pages, in order
    practice       {"feedback": bool}                         for trials of phase "practice"
    qualification  {"pass_mark": 0…1, "tries": 1…5}           for trials of phase "qualification"
    checks         {"allowed_misses": int, "on_fail": "flag" | "end"}   for trials of phase "check"
    exit           [{"name", "kind", "question", "choices", "required"}, …]   kind: text, number, choice, scale, truth
    completion     {"text": Markdown, "return_url": str, "personal_code": bool,
                    "codes": {"completed", "failed_checks", "screened_out"}}
    people         {"accounts": bool, "open_link": bool, "nickname": bool, "prolific": bool,
                    "time_limit_minutes": int | None}
    replace        outcomes after which the person's main answers are set aside and their places given back
"""

import re
from collections.abc import Mapping
from typing import Any

from annotation.errors import PlanInvalid
from annotation.markup import is_web_address
from annotation.models import Participant

EXIT_KINDS = ("text", "number", "choice", "scale", "truth")
CODES = ("completed", "failed_checks", "screened_out")
REPLACEABLE = ("failed_checks", "returned", "timed_out")
MOST_TEXT, MOST_PAGES, MOST_QUESTIONS = 20_000, 30, 40
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")
_CODE = re.compile(r"^[A-Za-z0-9_-]{0,40}$")


def clean_plan(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The whole plan, defaults filled in. Raises PlanInvalid with a sentence a part (`exit.2.question`)."""
    given = dict(values or {})
    errors: dict[str, str] = {}
    for unknown in sorted(set(given) - set(_PARTS)):
        errors[unknown] = f"A plan has no part “{unknown}”. Parts: {', '.join(_PARTS)}."
    cleaned = {}
    for name, clean in _PARTS.items():
        found: dict[str, str] = {}
        cleaned[name] = clean(given.get(name), found)
        errors |= {f"{name}.{key}" if key else name: sentence for key, sentence in found.items()}
    if errors:
        raise PlanInvalid(errors)
    return cleaned


def default_plan() -> dict[str, Any]:
    """A plan with main trials alone, open to everyone who has an account."""
    return clean_plan({})


def _introduction(value: Any, errors: dict[str, str]) -> list[dict[str, str]]:
    pages = []
    for index, page in enumerate(_list(value, errors, MOST_PAGES, "pages")):
        page = page if isinstance(page, Mapping) else {"text": page}
        title, text = _text(page.get("title")), _text(page.get("text"))
        if not text:
            errors[f"{index}.text"] = f"Page {index + 1} of the introduction is empty. Write it, or take it out."
        elif len(text) > MOST_TEXT or len(title) > 160:
            errors[f"{index}.text"] = f"Page {index + 1} of the introduction is too long."
        pages.append({"title": title, "text": text})
    return pages


def _practice(value: Any, errors: dict[str, str]) -> dict[str, Any]:
    return {"feedback": _truth(_map(value, errors).get("feedback", True), errors, "feedback")}


def _qualification(value: Any, errors: dict[str, str]) -> dict[str, Any]:
    given = _map(value, errors)
    return {
        "pass_mark": _number(given.get("pass_mark", 0.8), errors, "pass_mark", 0.0, 1.0, "The pass mark"),
        "tries": _whole(given.get("tries", 2), errors, "tries", 1, 5, "Tries"),
    }


def _checks(value: Any, errors: dict[str, str]) -> dict[str, Any]:
    given = _map(value, errors)
    on_fail = given.get("on_fail", "flag")
    if on_fail not in ("flag", "end"):
        errors["on_fail"] = "After too many failed checks the study goes on (flag) or ends at once (end)."
    return {
        "allowed_misses": _whole(given.get("allowed_misses", 1), errors, "allowed_misses", 0, 1000, "Misses"),
        "on_fail": on_fail,
    }


def _exit(value: Any, errors: dict[str, str]) -> list[dict[str, Any]]:
    questions: list[dict[str, Any]] = []
    for index, item in enumerate(_list(value, errors, MOST_QUESTIONS, "questions")):
        item = item if isinstance(item, Mapping) else {}
        kind = item.get("kind", "text")
        name = _text(item.get("name")) or f"question_{index + 1}"
        question = _text(item.get("question"))
        choices = [_text(choice) for choice in item.get("choices") or [] if _text(choice)]
        if not _NAME.match(name):
            errors[f"{index}.name"] = f"“{name}”: a name has small letters, digits and _, and begins with a letter."
        if name in {other["name"] for other in questions}:
            errors[f"{index}.name"] = f"Two exit questions are called “{name}”."
        if not question or len(question) > 500:
            errors[f"{index}.question"] = f"Exit question {index + 1} needs a text of at most 500 characters."
        if kind not in EXIT_KINDS:
            errors[f"{index}.kind"] = f"Exit question {index + 1} is one of: {', '.join(EXIT_KINDS)}."
        if kind == "choice" and not 2 <= len(dict.fromkeys(choices)) <= 30:
            errors[f"{index}.choices"] = f"Exit question {index + 1} needs 2 to 30 different choices."
        questions.append(
            {
                "name": name,
                "kind": kind,
                "question": question,
                "choices": list(dict.fromkeys(choices)) if kind == "choice" else [],
                "required": _truth(item.get("required", True), errors, f"{index}.required"),
            }
        )
    return questions


def _completion(value: Any, errors: dict[str, str]) -> dict[str, Any]:
    given = _map(value, errors)
    codes = _map(given.get("codes"), errors)
    text, address = _text(given.get("text")), _text(given.get("return_url"))
    if len(text) > MOST_TEXT:
        errors["text"] = "The text at the end is too long."
    if address and not is_web_address(address):
        errors["return_url"] = "The address to return to begins with https:// (or http://)."
    kept = {}
    for name in CODES:
        kept[name] = _text(codes.get(name))
        if not _CODE.match(kept[name]):
            errors[f"codes.{name}"] = "A completion code has at most 40 letters, digits, - and _."
    said = [code for code in kept.values() if code]
    if len(set(said)) < len(said):
        errors["codes"] = "Each outcome needs a completion code of its own."
    return {
        "text": text,
        "return_url": address,
        "personal_code": _truth(given.get("personal_code", False), errors, "personal_code"),
        "codes": kept,
    }


def _people(value: Any, errors: dict[str, str]) -> dict[str, Any]:
    given = _map(value, errors)
    limit = given.get("time_limit_minutes")
    if limit is not None:
        limit = _whole(limit, errors, "time_limit_minutes", 1, 60 * 24 * 30, "Minutes")
    kept = {
        name: _truth(given.get(name, default), errors, name)
        for name, default in (("accounts", True), ("open_link", False), ("nickname", True), ("prolific", False))
    }
    return kept | {"time_limit_minutes": limit}


def _replace(value: Any, errors: dict[str, str]) -> list[str]:
    given = list(REPLACEABLE) if value is None else value
    if not isinstance(given, list) or set(given) - set(REPLACEABLE):
        errors[""] = f"Places can be given back after: {', '.join(REPLACEABLE)}."
        return []
    return [name for name in REPLACEABLE if name in given]


_PARTS = {
    "introduction": _introduction,
    "practice": _practice,
    "qualification": _qualification,
    "checks": _checks,
    "exit": _exit,
    "completion": _completion,
    "people": _people,
    "replace": _replace,
}


def code_for(plan: Mapping[str, Any], outcome: str) -> str:
    """The researcher's completion code of an outcome; empty where there is none."""
    return str(plan["completion"]["codes"].get(outcome, "")) if outcome in CODES else ""


def _map(value: Any, errors: dict[str, str]) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        errors[""] = "This part is an object of settings."
        return {}
    return value


def _list(value: Any, errors: dict[str, str], most: int, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        errors[""] = f"This part is a list of {what}."
        return []
    if len(value) > most:
        errors[""] = f"At most {most} {what}."
    return value[:most]


def _text(value: Any) -> str:
    return str(value).replace("\x00", "").replace("\r\n", "\n").strip() if value is not None else ""


def _truth(value: Any, errors: dict[str, str], key: str) -> bool:
    if not isinstance(value, bool):
        errors[key] = "Yes or no."
        return False
    return value


def _whole(value: Any, errors: dict[str, str], key: str, least: int, most: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        errors[key] = f"{what}: a whole number from {least} to {most}."
        return least
    return value


def _number(value: Any, errors: dict[str, str], key: str, least: float, most: float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        errors[key] = f"{what} lies between {least:g} and {most:g}."
        return least
    return float(value)


# What an outcome is called must stay what the rows know.
assert set(CODES) | set(REPLACEABLE) <= set(Participant.Outcome.values)
