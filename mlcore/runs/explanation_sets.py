"""Which sets of explanations a run adds to: all that decides a map goes into the set's hash."""

from typing import Any

from mlcore.catalogue import METHODS, own_options, upgrade
from mlcore.models import AttentionModule, Classifier, ExplanationSet, Run
from mlcore.runs import correspond_sets
from mlcore.runs.attention import OPTION, file_behind, module_for, needing
from mlcore.runs.code_version import code_version
from mlcore.runs.decided_sets import decided_set
from mlcore.runs.job_classifier import JobImpossible
from mlcore.runs.report_plan import plan
from mlcore.runs.start import TRANSFORM

# Options that only say how much work is done at once.
DECIDE_NOTHING = ("chunk",)


def sets_of(run: Run) -> list[ExplanationSet]:
    """The sets that the run's recipe, classifiers and images decide, one a method; made where they are new.

    Raises JobImpossible for a method that was known when the run was started and is not any more.
    """
    if run.kind == Run.Kind.CORRESPOND:
        return correspond_sets.sets_of(run)
    recipe = upgrade(run.kind, run.recipe)
    for method in recipe["methods"]:
        if method not in METHODS:
            raise JobImpossible(f"The method “{method}” is not known here any more.")
    if run.kind == Run.Kind.REPORT:
        return [_set_of(run, classifier, own, method) for classifier, own, method in plan(run, recipe)]
    assert run.classifier is not None, "an explanation run is refused without a classifier"
    return [_set_of(run, run.classifier, recipe, method) for method in recipe["methods"]]


def _set_of(run: Run, classifier: Classifier, recipe: dict[str, Any], method: str) -> ExplanationSet:
    given = recipe["target"] == ExplanationSet.Target.GIVEN
    own = own_options(recipe, method)
    attention: dict[str, Any] = {}
    if needing([method]):
        # Of a report's modules, one a classifier, the set tells its own.
        row = _module(classifier, method, str(own.get(OPTION) or ""))
        recipe, attention = recipe | {f"{method}.{OPTION}": str(row.uuid)}, {"attention": row.sha256}
    told = {
        "layer": own.get("layer") or "",
        "preset": own.get("preset") or "default",
        "options": {
            field.name: recipe[f"{method}.{field.name}"]
            for field in METHODS[method].fields
            if field.name not in ("layer", "preset", *DECIDE_NOTHING) and f"{method}.{field.name}" in recipe
        },
        "transform": {key: recipe[key] for key in TRANSFORM},
        "method": method,
        "target": recipe["target"],
        "target_class": recipe["target_class"] if given else None,
        "code_version": code_version(),
    }
    return decided_set(run, classifier, told, {"precision": recipe.get("mixed_precision", "no")} | attention)


def _module(classifier: Classifier, method: str, given: str) -> AttentionModule:
    try:
        return module_for(classifier, method, given)
    except ValueError as error:
        raise JobImpossible(str(error)) from error


def method_options(chosen: ExplanationSet) -> dict[str, Any]:
    """What the set's method is made with to make its maps again; empty ones are left to their defaults. An attention
    module is its file; it is left out where it is gone."""
    if chosen.method not in METHODS:
        return {}
    spec = METHODS[chosen.method]
    told = dict(chosen.options) | {"layer": chosen.layer, "preset": chosen.preset}
    if OPTION in told:
        told[OPTION] = file_behind(chosen)
    return {field.name: told[field.name] for field in spec.fields if told.get(field.name) not in (None, "")}
