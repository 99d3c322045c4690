"""Reasonability (GRADIA, definitions §2): is what the classifier looked at reasonable?

One to four maps of one image on one screen, in an order drawn once. Three questions a map: does the focus contain the
necessary details, does it contain unnecessary ones, how good is it from 1 to 5. Reasonable ⇔ yes and no.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop
from rest_framework import serializers

from annotation.errors import StudyRefused
from annotation.models import Answer, Assignment, Judgement, Study
from annotation.studies.base import HUMAN_ONLY, Cleaned, Column, Grade, Kind, Table
from annotation.studies.serializers import StrictBoolean, StrictInteger, checked
from mlcore.catalogue.fields import Field

if TYPE_CHECKING:
    from django.db.models import QuerySet

NECESSARY, UNNECESSARY, QUALITY = "necessary", "unnecessary", "quality"
LEAST, MOST = 1, 5
NOT_ASKED = "any"
_CHOOSE = gettext_lazy("Choose a quality from 1 to 5.")
_ASKED = (("yes", "yes"), ("no", "no"), (NOT_ASKED, "not asked"))


class MapSerializer(serializers.Serializer):
    position = StrictInteger(min_value=0)
    necessary = StrictBoolean()
    unnecessary = StrictBoolean()
    quality = StrictInteger(
        min_value=LEAST, max_value=MOST,
        error_messages=dict.fromkeys(("required", "null", "invalid", "min_value", "max_value"), _CHOOSE),
    )  # fmt: skip


class ReasonabilitySerializer(serializers.Serializer):
    """`{"maps": [{"position": 0, "necessary": true, "unnecessary": false, "quality": 4}, …]}`, every map once."""

    maps = MapSerializer(many=True, error_messages={"required": gettext_lazy("Answer the questions of every map.")})

    def validate_maps(self, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        shown = self.context["maps"]
        given = [item["position"] for item in value]
        missing = [str(position + 1) for position in range(shown) if position not in given]
        if missing:
            raise serializers.ValidationError(_("Answer the questions of map %s.") % ", ".join(missing))
        if sorted(given) != list(range(shown)):
            raise serializers.ValidationError(_("Each map is answered once."))
        return sorted(value, key=lambda item: item["position"])


class Reasonability(Kind):
    name = "reasonability"
    title = "Reasonability"
    summary = "People say whether what the classifier looked at is reasonable. One to four maps an image."
    task = gettext_noop("Look at what the model looked at, and say whether that is reasonable.")
    template = "annotation/reasonability.html"
    maps_at_least = 1
    condition_modes = ("together", "within", "between")
    fields = (
        Field(
            "shown_class", "Class that is named", "choice", "predicted", "What the page says the picture shows.",
            choices=(("predicted", "what the model says"), ("true", "the true class"), ("none", "no class")),
        ),
        Field(
            "question_necessary", "Question 1", "text", gettext_noop("Does the focus contain the necessary details?")
        ),
        Field(
            "question_unnecessary", "Question 2", "text", gettext_noop("Does the focus contain unnecessary details?")
        ),
        Field(
            "question_quality", "Question 3", "text", gettext_noop("How good is the focus overall?"), "From 1 to 5."
        ),
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
    gold_fields = (
        Field(NECESSARY, "Contains the necessary details", "choice", NOT_ASKED, choices=_ASKED),
        Field(UNNECESSARY, "Contains unnecessary details", "choice", NOT_ASKED, choices=_ASKED),
        Field("quality_at_least", "Quality at least", "int", LEAST, "1: not asked.", LEAST, MOST),
        Field("quality_at_most", "Quality at most", "int", MOST, "5: not asked.", LEAST, MOST),
    )
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
                {
                    "name": QUALITY,
                    "kind": "scale",
                    "text": settings["question_quality"],
                    "from": LEAST,
                    "to": MOST,
                    "values": list(range(LEAST, MOST + 1)),
                },
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

    def clean_gold(self, values: Mapping[str, Any]) -> dict[str, Any]:
        gold = super().clean_gold(values)
        if gold["quality_at_least"] > gold["quality_at_most"]:
            raise StudyRefused("This right answer does not fit. The least quality is above the greatest.")
        return gold

    def grade(self, assignment: Assignment, cleaned: Cleaned, gold: Mapping[str, Any]) -> Grade:
        """All maps are held against the same gold; what the gold leaves open may be answered in any way."""
        expected = _expected(gold)
        if not expected:
            return Grade(None, "")
        right = all(_fits(item, gold) for item in cleaned.payload["maps"])
        what = ", ".join(expected)
        return Grade(right, (_("Right: %s.") if right else _("Expected here: %s.")) % what)

    def in_words(self, assignment: Assignment) -> list[str]:
        lines: dict[int, dict[str, str]] = {}
        for judgement in assignment.answer.judgements.all():
            if judgement.stimulus is None:
                continue
            said = (_("yes") if judgement.truth else _("no")) if judgement.number is None else f"{judgement.number:g}"
            lines.setdefault(assignment.order.index(judgement.stimulus.slot), {})[judgement.question] = said
        asked = (NECESSARY, UNNECESSARY, QUALITY)
        return [" · ".join(lines[place][name] for name in asked if name in lines[place]) for place in sorted(lines)]

    def statistics(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> dict[str, Any]:
        from annotation.statistics.reasonability import figures

        return figures(study, kinds)

    def tables(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> list[Table]:
        from annotation.statistics.reasonability import tables

        return tables(self.statistics(study, kinds))

    def export_rows(self, answers: "QuerySet[Answer]", *, full: bool = False) -> Iterator[dict[str, Any]]:
        from annotation.exchange.rows import reasonability

        return reasonability(answers)


def _fits(said: Mapping[str, Any], gold: Mapping[str, Any]) -> bool:
    truths = all(gold[name] in (NOT_ASKED, "yes" if said[name] else "no") for name in (NECESSARY, UNNECESSARY))
    return truths and gold["quality_at_least"] <= said[QUALITY] <= gold["quality_at_most"]


def _expected(gold: Mapping[str, Any]) -> list[str]:
    """What the gold asks for, in words; nothing for what it leaves open."""
    least, most = gold["quality_at_least"], gold["quality_at_most"]
    quality = None
    if least == most:
        quality = _("a quality of %d") % least
    elif least > LEAST and most < MOST:
        quality = _("a quality from %(least)d to %(most)d") % {"least": least, "most": most}
    elif least > LEAST:
        quality = _("a quality of %d or better") % least
    elif most < MOST:
        quality = _("a quality of %d or worse") % most
    said = (
        {"yes": _("the focus contains the necessary details"), "no": _("the focus misses necessary details")}.get(
            gold[NECESSARY]
        ),
        {"yes": _("it contains unnecessary details"), "no": _("it contains no unnecessary details")}.get(
            gold[UNNECESSARY]
        ),
        quality,
    )
    return [part for part in said if part]
