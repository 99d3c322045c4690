"""A preference study of attribution pairs (definitions §5): one condition a cell, each with images of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from annotation.errors import StudyRefused
from annotation.making import Group, create_study
from annotation.models import Study
from mlcore.models import PairSet

KIND = "preference"
CONDITIONS = ("original", "tuned")
SETTINGS: Mapping[str, Any] = {"shown_class": "true", "colormap": "reds"}
TITLE = "Which map fits better?"
INTRODUCTION = """You see a picture, what it shows, and two **maps**. A map shows where a classifier looked: the
redder a place, the more it counted.

Choose the map that fits better, or *neither* where both fit equally well or equally badly.

* `1` or `←` the left map, `3` or `→` the right map, `2` or `↓` neither
* hold `O` to see the picture alone"""

GERMAN = {
    "title": "Welche Karte passt besser?",
    "introduction": [
        {
            "title": "Zwei Karten von einem Bild",
            "text": """Sie sehen ein Bild, was es zeigt, und zwei **Karten**. Eine Karte zeigt, wohin ein Klassifikator
geschaut hat: je röter eine Stelle, desto mehr hat sie gezählt.

Wählen Sie die Karte, die besser passt, oder *keine von beiden*, wenn beide gleich gut oder gleich schlecht passen.

* `1` oder `←` die linke Karte, `3` oder `→` die rechte Karte, `2` oder `↓` keine von beiden
* `O` halten: das Bild allein""",
        }
    ],
}


@transaction.atomic
def create_pair_study(
    pair_sets: Sequence[PairSet],
    *,
    name: str,
    owner: Any,
    answers_per_trial: int | None = None,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Study:
    """A draft that asks about the pairs of these cells: one trial a pair, people meet every cell.

    Which cells there are, each with its pair set and metric, stands in the settings before anybody answers. `more`
    goes on to `create_study`; without texts in it the study has those of this module, in English and German.
    Raises StudyRefused with a sentence.
    """
    if not pair_sets:
        raise StudyRefused("Choose the attribution pairs that are asked about.")
    groups = [_group(pair_set) for pair_set in pair_sets]
    more.setdefault("conditions", Study.Conditions.WITHIN if len(groups) > 1 else Study.Conditions.TOGETHER)
    if not {"title", "plan", "translations"} & set(more):
        more["title"], more["translations"] = TITLE, {"de": GERMAN}
        more["plan"] = {"introduction": [{"title": "Two maps of one picture", "text": INTRODUCTION}]}
    return create_study(
        kind=KIND,
        name=name,
        owner=owner,
        groups=groups,
        answers_per_trial=answers_per_trial,
        settings={**SETTINGS, **(settings or {})},
        **more,
    )


def pair_sets_of(study: Study) -> list[PairSet]:
    """The pair sets that the study asks about, in the order of its conditions; empty for any other study."""
    named = [group["pair_set"] for group in study.version.settings.get("groups", []) if "pair_set" in group]
    found = {str(row.uuid): row for row in PairSet.objects.filter(uuid__in=named)}
    return [found[uuid] for uuid in named if uuid in found]


def _group(pair_set: PairSet) -> Group:
    pairs = pair_set.pairs.select_related("image").order_by("position")
    about = {
        "pair_set": str(pair_set.uuid),
        "metric": pair_set.metric,
        "method": pair_set.method,
        "classifier": str(pair_set.original.classifier),
    }
    images = tuple(pair.image for pair in pairs)
    return Group(pair_set.name[:80], (pair_set.original, pair_set.tuned), images, CONDITIONS, about)
