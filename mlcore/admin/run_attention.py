"""Trained attention modules on the form of a run: which methods a classifier has one for, and which module is read."""

from collections.abc import Mapping

from harmony.inputs import Input
from mlcore.models import AttentionModule, Classifier
from mlcore.runs.attention import OPTION, needing

WITHOUT = "It needs a trained attention module of this classifier: train one, with the objective “TAME”."


def modules_of(classifier: Classifier | None) -> list[AttentionModule]:
    """The classifier's modules, the newest first."""
    return list(classifier.attention_modules.order_by("-created", "-pk")) if classifier else []


def offer_modules(lines: Mapping[str, Input], modules: list[AttentionModule]) -> None:
    """Make the line of each method's module a choice among those that there are."""
    for name, line in lines.items():
        method, _, option = name.partition(".")
        if option == OPTION and needing([method]):
            own = [row for row in modules if row.kind == method]
            line.kind = "choice"
            line.choices = [("", "the newest"), *((str(row.uuid), _said(row)) for row in own)]
            if line.value not in dict(line.choices):  # another classifier's
                line.value = ""


def _said(row: AttentionModule) -> str:
    return f"{row.name} ({row.created:%Y-%m-%d %H:%M})"
