"""Which trained attention module a run reads: chosen when it starts, and where its file lies when it is performed."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlcore.catalogue import METHODS
from mlcore.models import AttentionModule, Classifier, ExplanationSet
from mlcore.runs.wish import RunRefused

OPTION = "attention"


def needing(methods: Sequence[str]) -> list[str]:
    """Those of the methods that need a trained attention module."""
    return [name for name in methods if name in METHODS and "attention" in METHODS[name].needs]


def newest_attention(classifier: Classifier, kind: str) -> AttentionModule | None:
    """The classifier's newest module of a kind ("tame", "l_cam"); None where it has none."""
    return classifier.attention_modules.filter(kind=kind).order_by("-created", "-pk").first()


def module_for(classifier: Classifier, method: str, given: str = "") -> AttentionModule:
    """The module by which a classifier is explained: the one given, else the classifier's newest of the method.

    given: a UUID or its beginning; several, with commas, where several classifiers each have one among them.
    Raises ValueError with a sentence where there is none, or where it is another classifier's or method's.
    """
    title = METHODS[method].title
    if not given.strip():
        newest = newest_attention(classifier, method)
        if newest is None:
            raise ValueError(
                f"“{classifier}” has no trained attention module of {title}: train one on it first, with the objective "
                "“TAME: a trained attention”."
            )
        return newest
    named = [_named(text.strip()) for text in given.split(",") if text.strip()]
    fitting = [row for row in named if row.classifier_id == classifier.pk and row.kind == method]
    if fitting:
        return fitting[0]
    other = named[0]
    if other.classifier_id != classifier.pk:
        raise ValueError(f"The attention module “{other}” belongs to “{other.classifier}”, not to “{classifier}”.")
    raise ValueError(f"The attention module “{other}” is one of {other.get_kind_display()}, not of {title}.")


def settled(recipe: dict[str, Any], classifiers: Sequence[Classifier]) -> dict[str, Any]:
    """The recipe with the module that each method reads written into it, one for each classifier, so that a module made
    later changes nothing. Raises RunRefused."""
    found = dict(recipe)
    errors: dict[str, str] = {}
    for method in needing(recipe.get("methods", ())):
        key = f"{method}.{OPTION}"
        given = str(recipe.get(key) or "")
        try:
            rows = [module_for(classifier, method, given) for classifier in classifiers]
        except ValueError as error:
            errors[key if given else "methods"] = str(error)
            continue
        found[key] = ",".join(str(row.uuid) for row in rows)
    if errors:
        raise RunRefused(errors)
    return found


def file_of(module: AttentionModule) -> str:
    """Where the module's file lies; empty where it is gone."""
    return module.weights.path if Path(module.weights.path).is_file() else ""


def file_behind(explained: ExplanationSet) -> str:
    """The file of the module that made a set's maps; empty where none did, or where it is gone."""
    given = str((explained.options or {}).get(OPTION) or "")
    if not given or not needing([explained.method]):
        return ""
    try:
        return file_of(module_for(explained.classifier, explained.method, given))
    except ValueError:
        return ""


def with_files(recipe: dict[str, Any], classifier: Classifier | None) -> dict[str, Any]:
    """The recipe of an explain run as its process reads it: modules by their files. Raises ValueError."""
    found = dict(recipe)
    for method in needing(recipe.get("methods", ())):
        assert classifier is not None, "an explanation run is refused without a classifier"
        module = module_for(classifier, method, str(recipe.get(f"{method}.{OPTION}") or ""))
        found[f"{method}.{OPTION}"] = file_of(module)
        if not found[f"{method}.{OPTION}"]:
            raise ValueError(f"The file of the attention module “{module}” is not in the storage any more.")
    return found


def _named(text: str) -> AttentionModule:
    rows = AttentionModule.objects.select_related("classifier")
    try:
        found = list(rows.filter(uuid=uuid.UUID(text)))
    except ValueError:
        hexadecimal = len(text) >= 6 and all(letter in "0123456789abcdef-" for letter in text.lower())
        found = [row for row in rows if str(row.uuid).startswith(text.lower())] if hexadecimal else []
    if len(found) > 1:
        raise ValueError(f"Several attention modules begin with “{text}”; give the whole UUID.")
    if not found:
        raise ValueError(f"There is no attention module “{text}”; give its UUID, or nothing for the newest.")
    return found[0]
