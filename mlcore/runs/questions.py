"""Short questions to a classifier as the answering process wants them: checked here, before anything is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlcore.catalogue import METHODS, RecipeError
from mlcore.catalogue.fields import Field, clean_fields
from mlcore.models import AttentionModule, Classifier
from mlcore.runs.attention import OPTION, file_of, module_for, needing, newest_attention

DEFAULT_METHOD = "grad_cam"


class QuestionRefused(ValueError):
    """A question that cannot be asked; `errors` maps a field (label, method, picture, an option) to a sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__(" ".join(errors.values()))


def layers_question(classifier: Classifier) -> dict[str, Any]:
    """Which layers it has. Raises QuestionRefused for a classifier without an architecture."""
    return {
        "kind": "layers",
        # Shapes follow from the architecture: the weights are not read.
        "classifier": built(classifier) | {"weights": None},
        "image_size": int((classifier.transform or {}).get("image_size") or 224),
    }


def mask_question(
    classifier: Classifier, picture: str, *, method: str, options: Mapping[str, Any], label: int | None
) -> dict[str, Any]:
    """What it looks at in the picture file. Raises QuestionRefused where the weights or the attention are gone."""
    name, chosen = method_of(classifier, method)
    return {
        "kind": "mask",
        "classifier": built(classifier) | {"weights": weights_of(classifier)},
        "picture": picture,
        "method": name,
        "options": _in_full(name, options) | _attention(chosen),
        "label": label,
        "transform": dict(classifier.transform or {}),
    }


def method_of(classifier: Classifier, method: str) -> tuple[str, AttentionModule | None]:
    """The name of a method, and the trained attention that it reads.

    method: a name of the catalogue; "tame" takes the classifier's newest module, "tame:UUID" that one.
    Raises QuestionRefused where there is no such method, or no such module of this classifier.
    """
    name, _, wanted = method.partition(":")
    if name not in METHODS:
        raise QuestionRefused({"method": f"There is no method “{name}”; there are {', '.join(METHODS)}."})
    if not needing([name]):
        return name, None
    try:
        return name, module_for(classifier, name, wanted)
    except ValueError as error:
        raise QuestionRefused({"method": str(error)}) from error


def default_method(classifier: Classifier) -> str:
    """TAME where the classifier has a trained attention for it, else Grad-CAM."""
    return "tame" if newest_attention(classifier, "tame") is not None else DEFAULT_METHOD


def option_fields(method: str) -> tuple[Field, ...]:
    """The options of a method that a person may set."""
    spec = METHODS.get(method.partition(":")[0])
    return tuple(field for field in spec.fields if field.name != OPTION) if spec else ()


def clean_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The method's options that differ from their defaults. Raises QuestionRefused with a sentence for each."""
    return differing(option_fields(method), options)


def differing(fields: Sequence[Field], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of these fields that differ from their defaults. Raises QuestionRefused with a sentence for each."""
    try:
        cleaned = clean_fields(fields, options)
    except RecipeError as error:
        raise QuestionRefused(error.errors) from error
    defaults = {field.name: field.default for field in fields}
    return {key: value for key, value in cleaned.items() if value not in ("", None) and value != defaults[key]}


def _in_full(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """With the defaults of the catalogue, as a run gives them: a method made by hand may have others."""
    usual = {field.name: field.default for field in option_fields(method) if field.default not in ("", None)}
    return usual | dict(options)


def built(classifier: Classifier) -> dict[str, Any]:
    """How the process builds it, without its weights. Raises QuestionRefused where it cannot."""
    if not classifier.architecture or len(classifier.classes) < 2:
        raise QuestionRefused({"": f"“{classifier}” has no architecture or no classes here, so it cannot be asked."})
    return {
        "architecture": classifier.architecture,
        "num_classes": len(classifier.classes),
        "padding": classifier.padding,
        "replace_head": False,
    }


def weights_of(classifier: Classifier) -> str:
    """The file of its weights. Raises QuestionRefused where it is gone."""
    if not classifier.weights or not Path(classifier.weights.path).is_file():
        raise QuestionRefused({"": f"The weights of “{classifier}” are not in the storage, so it cannot be asked."})
    return str(classifier.weights.path)


def _attention(chosen: AttentionModule | None) -> dict[str, Any]:
    if chosen is None:
        return {}
    file = file_of(chosen)
    if not file:
        raise QuestionRefused(
            {"method": f"The file of the attention module “{chosen}” is not in the storage any more."}
        )
    return {OPTION: file}
