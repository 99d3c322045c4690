"""The plan and the texts of a study in the builder: from what was typed to `annotation.plan` and back."""

from collections.abc import Mapping
from typing import Any

from annotation.admin.builder_names import Values, cleaned, rows, word
from annotation.errors import PlanInvalid
from annotation.models import StudyVersion
from annotation.plan import EXIT_KINDS, REPLACEABLE, clean_plan, default_plan
from annotation.studies import Kind
from mlcore.catalogue.fields import Field

GERMAN = "de"
EXIT_TITLES = {
    "text": "text", "number": "a number", "choice": "one of several", "scale": "a scale from 1 to 7",
    "truth": "yes or no",
}  # fmt: skip

TITLE = (
    Field("title", "Title", "text", "", "What annotators read on top. Empty: the study's name."),
    Field("task", "Task in one line", "text", "", "Empty: the usual words of this kind of study."),
)
CONSENT = (
    Field(
        "consent", "Consent", "long", "",
        "Markdown. Shown first, with “I agree” and “I do not agree”; a new text asks everyone again. "
        "Empty: nobody is asked.",
    ),
)  # fmt: skip
PAGE = (
    Field("title", "Heading", "text", ""),
    Field("text", "Text", "long", "", "Markdown; a picture is written ![what one sees](picture:its-name)."),
)
PRACTICE = (
    Field(
        "practice.feedback", "Say after each practice trial whether it was right", "bool", True,
        "The practice trials themselves are chosen on the draft's page.",
    ),
)  # fmt: skip
QUALIFICATION = (
    Field("qualification.pass_mark", "Pass mark (%)", "float", 80.0, "Of the qualification trials.", 0, 100),
    Field("qualification.tries", "Tries", "int", 2, "Then the person is screened out.", 1, 5),
)
CHECKS = (
    Field("checks.allowed_misses", "Misses allowed", "int", 1, "Of attention checks among the main trials.", 0, 1000),
    Field(
        "checks.on_fail", "After more than that", "choice", "flag", "",
        choices=(("flag", "go on, and flag the person"), ("end", "end the study for the person")),
    ),
)  # fmt: skip
QUESTION = (
    Field("question", "Question", "text", ""),
    Field("kind", "Answer", "choice", "text", choices=tuple(EXIT_TITLES.items())),
    Field("name", "Name in exports", "text", "", "Small letters, digits and _; empty: question_1 and so on."),
    Field("choices", "Choices", "long", "", "One a line; only for “one of several”."),
    Field("required", "Has to be answered", "bool", True),
)
COMPLETION = (
    Field("completion.text", "Text at the end", "long", "", "Markdown. Empty: thanks, in one line."),
    Field("completion.codes.completed", "Code: completed", "text", ""),
    Field("completion.codes.failed_checks", "Code: failed the attention checks", "text", ""),
    Field("completion.codes.screened_out", "Code: did not qualify", "text", ""),
    Field(
        "completion.return_url", "Address to return to", "text", "",
        "The last page links there. For Prolific: https://app.prolific.com/submissions/complete",
    ),
    Field(
        "completion.personal_code", "A code of one's own for each person", "bool", False,
        "For those who complete it, where no code is given above.",
    ),
)  # fmt: skip
PEOPLE = (
    Field("people.accounts", "People with an account here", "bool", True, "They see it on their home page."),
    Field("people.open_link", "Anyone who has the open link", "bool", False, "They need no account."),
    Field("people.nickname", "Ask guests for a nickname", "bool", True, "Shown to themselves alone, never exported."),
    Field("people.prolific", "People from Prolific", "bool", False, "One Prolific id, one participation."),
    Field(
        "people.time_limit_minutes", "Time limit (minutes)", "text", "",
        "Counted from entering; then the places go back. Empty: none.",
    ),
)  # fmt: skip
REPLACE = (
    Field("replace.failed_checks", "failed the attention checks", "bool", True),
    Field("replace.returned", "stopped and gave their place back", "bool", True),
    Field("replace.timed_out", "ran out of time", "bool", True),
)
GERMAN_TITLE = (Field("de.title", "Titel", "text", ""), Field("de.task", "Aufgabe in einer Zeile", "text", ""))
GERMAN_CONSENT = (Field("de.consent", "Einwilligung", "long", ""),)
GERMAN_PAGE = (Field("de.title", "Überschrift", "text", ""), Field("de.text", "Text", "long", ""))
GERMAN_QUESTION = (
    Field("de.question", "Frage", "text", ""),
    Field("de.choices", "Antworten", "long", "", "One a line, as many and in the same order as in English."),
)
GERMAN_END = (Field("de.completion_text", "Text am Ende", "long", ""),)

FRESH: dict[str, Values] = {
    "introduction": {"title": "", "text": "", "de.title": "", "de.text": ""},
    "exit": {
        "question": "", "kind": "text", "name": "", "choices": "", "required": "yes",
        "de.question": "", "de.choices": "",
    },
}  # fmt: skip


def plan_of(values: Mapping[str, str], errors: dict[str, str]) -> dict[str, Any]:
    """The plan that was typed; what is wrong goes into `errors` under the control's name."""
    practice = cleaned(PRACTICE, values, errors)
    qualification = cleaned(QUALIFICATION, values, errors)
    checks = cleaned(CHECKS, values, errors)
    completion = cleaned(COMPLETION, values, errors)
    people = cleaned(PEOPLE, values, errors)
    replace = cleaned(REPLACE, values, errors)
    limit = str(people.pop("people.time_limit_minutes")).strip()
    plan = {
        "introduction": [
            {"title": row.get("title", ""), "text": row.get("text", "")} for row in rows(values, "introduction")
        ],
        "practice": {"feedback": practice["practice.feedback"]},
        "qualification": {
            "pass_mark": qualification["qualification.pass_mark"] / 100,
            "tries": qualification["qualification.tries"],
        },
        "checks": {name.split(".")[1]: value for name, value in checks.items()},
        "exit": [
            {
                "name": row.get("name", ""),
                "kind": row.get("kind", "text"),
                "question": row.get("question", ""),
                "choices": lines_of(row.get("choices", "")),
                "required": row.get("required", "yes") == "yes",
            }
            for row in rows(values, "exit")
        ],
        "completion": {
            "text": completion["completion.text"],
            "return_url": completion["completion.return_url"],
            "personal_code": completion["completion.personal_code"],
            "codes": {
                name: completion[f"completion.codes.{name}"] for name in ("completed", "failed_checks", "screened_out")
            },
        },
        "people": {name.split(".")[1]: value for name, value in people.items()}
        | {"time_limit_minutes": int(limit) if limit.isdigit() else (limit or None)},
        "replace": [name for name in REPLACEABLE if replace[f"replace.{name}"]],
    }
    try:
        return clean_plan(plan)
    except PlanInvalid as refused:
        for name, sentence in refused.errors.items():
            errors.setdefault(name, sentence)
        return default_plan()


def german_of(values: Mapping[str, str], kind: Kind, errors: dict[str, str]) -> dict[str, Any]:
    """The German texts as a version keeps them; empty where nothing was translated."""
    pages = [{"title": row.get("de.title", "").strip(), "text": row.get("de.text", "").strip()}
             for row in rows(values, "introduction")]  # fmt: skip
    questions = []
    for number, row in enumerate(rows(values, "exit")):
        choices = lines_of(row.get("de.choices", ""))
        wanted = len(lines_of(row.get("choices", ""))) if row.get("kind") == "choice" else 0
        if choices and len(choices) != wanted:
            errors[f"exit.{number}.de.choices"] = f"As many as in the first language: {wanted}, not {len(choices)}."
        questions.append({"question": row.get("de.question", "").strip(), "choices": choices})
    said: dict[str, Any] = {
        "title": values.get("de.title", "").strip(),
        "task": values.get("de.task", "").strip(),
        "consent": values.get("de.consent", "").strip(),
        "completion_text": values.get("de.completion_text", "").strip(),
        "introduction": pages if any(any(page.values()) for page in pages) else [],
        "exit": questions if any(any(question.values()) for question in questions) else [],
        "settings": {
            field.name: text
            for field in kind.fields
            if field.kind == "text" and (text := values.get(f"de.{kind.name}-{field.name}", "").strip())
        },
    }
    for name, most in (("title", 160), ("task", 300)):
        if len(said[name]) > most:
            errors[f"de.{name}"] = f"At most {most} characters."
    return {name: value for name, value in said.items() if value}


def lines_of(text: str) -> list[str]:
    return [kept for found in text.splitlines() if (kept := found.strip())]


def values_of(version: StudyVersion, kind: Kind) -> Values:
    """What the builder shows of a version: the same names, filled in."""
    plan = version.plan or default_plan()
    said = version.translations.get(GERMAN, {})
    flat: Values = {"title": version.title, "task": version.task, "consent": version.consent}
    flat |= {f"{kind.name}-{field.name}": _text(version.settings.get(field.name, field.default))
             for field in kind.fields}  # fmt: skip
    flat["practice.feedback"] = word(plan["practice"]["feedback"])
    flat["qualification.pass_mark"] = f"{100 * plan['qualification']['pass_mark']:.6g}"
    flat["qualification.tries"] = str(plan["qualification"]["tries"])
    flat |= {f"checks.{name}": str(value) for name, value in plan["checks"].items()}
    completion = plan["completion"]
    flat |= {f"completion.{name}": _text(completion[name]) for name in ("text", "return_url", "personal_code")}
    flat |= {f"completion.codes.{name}": code for name, code in completion["codes"].items()}
    flat |= {f"people.{name}": _text(value) for name, value in plan["people"].items()}
    flat |= {f"replace.{name}": word(name in plan["replace"]) for name in REPLACEABLE}
    for number, page in enumerate(plan["introduction"]):
        other = _at(said.get("introduction"), number)
        flat |= {f"introduction.{number}.{key}": page.get(key, "") for key in ("title", "text")}
        flat |= {f"introduction.{number}.de.{key}": str(other.get(key) or "") for key in ("title", "text")}
    for number, question in enumerate(plan["exit"]):
        other = _at(said.get("exit"), number)
        flat |= {
            f"exit.{number}.question": question["question"],
            f"exit.{number}.kind": question["kind"],
            f"exit.{number}.name": question["name"],
            f"exit.{number}.choices": "\n".join(question["choices"]),
            f"exit.{number}.required": word(question["required"]),
            f"exit.{number}.de.question": str(other.get("question") or ""),
            f"exit.{number}.de.choices": "\n".join(other.get("choices") or []),
        }
    flat |= {f"de.{name}": str(said.get(name) or "") for name in ("title", "task", "consent", "completion_text")}
    flat |= {f"de.{kind.name}-{name}": str(text) for name, text in said.get("settings", {}).items()}
    return flat


def _at(items: Any, number: int) -> Mapping[str, Any]:
    found = items[number] if isinstance(items, list) and number < len(items) else {}
    return found if isinstance(found, Mapping) else {}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return word(value)
    return "" if value is None else str(value)


assert set(EXIT_TITLES) == set(EXIT_KINDS)
