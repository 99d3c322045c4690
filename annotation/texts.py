"""What a study says, in the reader's language as far as the researcher wrote it; the rest as it was written first.

The kinds' standard sentences are kept with a study in English. As long as the researcher left them as they are, they
are said in the reader's language without a translation of the study's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import get_language, gettext, override

from annotation.models import StudyVersion
from annotation.studies import KINDS


@dataclass(frozen=True)
class Texts:
    """`consent`, the pages of `introduction` and `completion_text` are Markdown; `settings` are the kind's."""

    title: str
    task: str
    consent: str
    introduction: list[dict[str, str]]
    exit: list[dict[str, Any]]
    completion_text: str
    settings: dict[str, Any]


def texts_of(version: StudyVersion, language: str | None = None) -> Texts:
    """The texts of a version in `language` (by default the one of the page that is being rendered)."""
    if language is not None:
        with override(language):
            return texts_of(version)
    said = _translation(version, get_language() or "")
    plan = version.plan
    return Texts(
        title=said.get("title") or version.title,
        task=said.get("task") or _standard_task(version.task),
        consent=said.get("consent") or version.consent,
        introduction=_pages(plan.get("introduction", []), said.get("introduction", [])),
        exit=_questions(plan.get("exit", []), said.get("exit", [])),
        completion_text=said.get("completion_text") or plan.get("completion", {}).get("text", ""),
        settings=version.settings
        | _standard_settings(version.settings)
        | {key: value for key, value in said.get("settings", {}).items() if value},
    )


def _standard_task(task: str) -> str:
    return gettext(task) if task and any(task in kind.usual_tasks for kind in KINDS.values()) else task


def _standard_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that still say what a kind says by itself, in the language that is active.

    Whose kind it is need not be asked of the database: one sentence under one name means the same in each of them.
    """
    fields = [field for kind in KINDS.values() for field in kind.fields if field.kind == "text" and field.default]
    return {field.name: gettext(field.default) for field in fields if settings.get(field.name) == field.default}


def _translation(version: StudyVersion, language: str) -> Mapping[str, Any]:
    for name in (language, language.split("-")[0]):
        found = version.translations.get(name)
        if isinstance(found, Mapping):
            return found
    return {}


def _pages(pages: list[dict[str, str]], said: list[Any]) -> list[dict[str, str]]:
    """Page by page; a page that was not translated stays as it is."""
    translated = [dict(page) for page in pages]
    for page, other in zip(translated, said, strict=False):
        page |= {key: other[key] for key in ("title", "text") if isinstance(other, Mapping) and other.get(key)}
    return translated


def _questions(questions: list[dict[str, Any]], said: list[Any]) -> list[dict[str, Any]]:
    """The same names and values; `labels` are what a choice is called, in the order of `choices`."""
    translated = [dict(question, labels=list(question["choices"])) for question in questions]
    for question, other in zip(translated, said, strict=False):
        if not isinstance(other, Mapping):
            continue
        question["question"] = other.get("question") or question["question"]
        labels = other.get("choices") or []
        if len(labels) == len(question["choices"]):
            question["labels"] = [label or kept for label, kept in zip(labels, question["choices"], strict=True)]
    return translated
