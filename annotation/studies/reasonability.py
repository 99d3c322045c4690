"""Reasonability (GRADIA, definitions §2): is what the classifier looked at reasonable?

One to four maps of one image on one screen, in an order drawn once. Three questions a map: does the focus contain the
necessary details, does it contain unnecessary ones, how good is it from 1 to 5. Reasonable ⇔ yes and no.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from annotation.models import Answer, Assignment, Judgement, Study
from annotation.studies.base import HUMAN_ONLY, Cleaned, Column, Kind, Table
from annotation.studies.serializers import StrictBoolean, StrictInteger, checked
from mlcore.catalogue.fields import Field

if TYPE_CHECKING:
    from django.db.models import QuerySet

NECESSARY, UNNECESSARY, QUALITY = "necessary", "unnecessary", "quality"
_CHOOSE = "Choose a quality from 1 to 5."


class MapSerializer(serializers.Serializer):
    position = StrictInteger(min_value=0)
    necessary = StrictBoolean()
    unnecessary = StrictBoolean()
    quality = StrictInteger(
        min_value=1, max_value=5,
        error_messages=dict.fromkeys(("required", "null", "invalid", "min_value", "max_value"), _CHOOSE),
    )  # fmt: skip


class ReasonabilitySerializer(serializers.Serializer):
    """`{"maps": [{"position": 0, "necessary": true, "unnecessary": false, "quality": 4}, …]}`, every map once."""

    maps = MapSerializer(many=True, error_messages={"required": "Answer the questions of every map."})

    def validate_maps(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        shown = self.context["maps"]
        given = [item["position"] for item in value]
        missing = [str(position + 1) for position in range(shown) if position not in given]
        if missing:
            raise serializers.ValidationError(f"Answer the questions of map {', '.join(missing)}.")
        if sorted(given) != list(range(shown)):
            raise serializers.ValidationError(f"Each of the {shown} maps is answered once.")
        return sorted(value, key=lambda item: item["position"])


class Reasonability(Kind):
    name = "reasonability"
    title = "Reasonability"
    summary = "People say whether what the classifier looked at is reasonable. One to four maps an image."
    task = "Look at what the model looked at, and say whether that is reasonable."
    template = "annotation/reasonability.html"
    maps_at_least = 1
    fields = (
        Field(
            "shown_class", "Class that is named", "choice", "predicted", "What the page says the picture shows.",
            choices=(("predicted", "what the model says"), ("true", "the true class"), ("none", "no class")),
        ),
        Field("question_necessary", "Question 1", "text", "Does the focus contain the necessary details?"),
        Field("question_unnecessary", "Question 2", "text", "Does the focus contain unnecessary details?"),
        Field("question_quality", "Question 3", "text", "How good is the focus overall?", "From 1 to 5."),
        Field(
            "view", "First view", "choice", "overlay", "How a map is shown until the reader chooses.",
            choices=(("overlay", "overlay"), ("spotlight", "spotlight on black"), ("contour", "contour")),
        ),
        Field(
            "colormap", "Colours", "choice", "cividis", "Of the overlay.",
            choices=(("cividis", "cividis"), ("magma", "magma")),
        ),
        Field("opacity", "Opacity", "float", 0.6, "Of the overlay, until the reader chooses.", 0.0, 1.0),
    )  # fmt: skip
    columns = (
        Column("necessary", "Q1: the focus contains the necessary details", "true, false"),
        Column("unnecessary", "Q2: the focus contains unnecessary details", "true, false"),
        Column("quality", "Q3: overall quality of the focus", "1 (poor) to 5 (good)"),
        Column("reasonable", "Q1 yes and Q2 no (definitions §2)", "true, false"),
        Column("position", "Place of the map on the page, as this person saw it", "from 0"),
        Column("slot", "The map's own number within the trial, the same for everyone", "from 0"),
        Column("condition", "Which explanation it was; never shown to annotators", "text"),
        Column("classifier", "UUID of the classifier that was explained", "UUID"),
        Column("method", "How the map was made", "text"),
        Column("explained_class", "Index of the class that the map explains", "from 0"),
    )

    def page_context(self, assignment: Assignment, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        settings = settings or assignment.trial.study.version.settings
        context = assignment.trial.context
        names = context.get("class_names") or []
        several = context.get("class_name") is None and bool(names)
        return {
            "shown_class": context.get("shown", "none"),
            "class_name": context.get("class_name"),
            "maps": [
                {"position": position, "class_name": names[slot] if several else None}
                for position, slot in enumerate(assignment.order)
            ],
            "questions": [
                {"name": NECESSARY, "kind": "truth", "text": settings["question_necessary"]},
                {"name": UNNECESSARY, "kind": "truth", "text": settings["question_unnecessary"]},
                {"name": QUALITY, "kind": "scale", "text": settings["question_quality"], "from": 1, "to": 5},
            ],
            "view": settings["view"],
            "colormap": settings["colormap"],
            "opacity": settings["opacity"],
        }

    def clean(
        self, assignment: Assignment, payload: Any, drawing: bytes | None, settings: Mapping[str, Any]
    ) -> Cleaned:
        serializer = ReasonabilitySerializer(data=payload, context={"maps": len(assignment.order)})
        data = checked(serializer)
        return Cleaned({"maps": [dict(item) for item in data["maps"]]})

    def record(self, answer: Answer, cleaned: Cleaned, assignment: Assignment) -> None:
        stimuli = {stimulus.slot: stimulus for stimulus in assignment.trial.stimuli.all()}
        rows = []
        for item in cleaned.payload["maps"]:
            stimulus = stimuli[assignment.order[item["position"]]]
            rows += [
                Judgement(answer=answer, stimulus=stimulus, question=NECESSARY, truth=item[NECESSARY]),
                Judgement(answer=answer, stimulus=stimulus, question=UNNECESSARY, truth=item[UNNECESSARY]),
                Judgement(answer=answer, stimulus=stimulus, question=QUALITY, number=item[QUALITY]),
            ]
        if answer.revision > 1:
            answer.judgements.all().delete()
        Judgement.objects.bulk_create(rows)

    def statistics(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> dict[str, Any]:
        from annotation.statistics.reasonability import figures

        return figures(study, kinds)

    def tables(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> list[Table]:
        from annotation.statistics.reasonability import tables

        return tables(self.statistics(study, kinds))

    def export_rows(self, answers: "QuerySet[Answer]", *, full: bool = False) -> Iterator[dict[str, Any]]:
        from annotation.exchange.rows import reasonability

        return reasonability(answers)
