"""Preference (HARMONY, definitions §5): which of two maps fits better, blind, or neither.

Two maps of one image side by side, in an order drawn once. What is sent speaks of sides, as the person saw them; what
is recorded speaks of stimuli, so that the order never enters a figure.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop
from rest_framework import serializers

from annotation.errors import AnswerInvalid, StudyRefused
from annotation.models import Answer, Assignment, Judgement, Study
from annotation.studies.base import HUMAN_ONLY, Cleaned, Column, Grade, Kind, Table
from annotation.studies.serializers import StrictInteger, checked
from mlcore.catalogue.fields import Field

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from annotation.studies.trials import Group

CHOICE, SLIDER = "choice", "slider"
# Questions of the judgements that an answer becomes.
CHOSEN, NEITHER, PREFERENCE = "chosen", "neither", "preference"
LEFT, RIGHT = "a", "b"
MOST = 3
_CHOOSE = gettext_lazy("Choose the left map, the right map or neither.")
_CHOOSE_ONE = gettext_lazy("Choose the left map or the right map.")
_CHOOSE_POINT = gettext_lazy("Choose a point on the scale.")
_SAID = {
    -3: gettext_lazy("the left map fits much better"),
    -2: gettext_lazy("the left map fits better"),
    -1: gettext_lazy("the left map fits slightly better"),
    0: gettext_lazy("both maps fit equally well"),
    1: gettext_lazy("the right map fits slightly better"),
    2: gettext_lazy("the right map fits better"),
    3: gettext_lazy("the right map fits much better"),
}


class PointSerializer(serializers.Serializer):
    """`{"preference": -3 … 3}`: minus is the left map, plus the right one, 0 equal."""

    preference = StrictInteger(
        min_value=-MOST, max_value=MOST,
        error_messages=dict.fromkeys(("required", "null", "invalid", "min_value", "max_value"), _CHOOSE_POINT),
    )  # fmt: skip


class Preference(Kind):
    name = "preference"
    title = "Preference"
    summary = "People choose, blind, between two maps of a picture, or say that neither is better."
    task = gettext_noop("Look at two maps of a picture, and say which fits better.")
    template = "annotation/preference.html"
    maps_at_least = 2
    maps_at_most = 2
    condition_modes = ("within", "between", "together")
    fields = (
        Field(
            "form", "How people answer", "choice", CHOICE, "A choice goes on at once; a scale is sent by another key.",
            choices=((CHOICE, "one map, the other, or neither"), (SLIDER, "a scale from one map to the other")),
        ),
        Field("neither", "Offer “neither”", "bool", True, "On the scale: offer the point in the middle."),
        Field("question", "Question", "text", gettext_noop("Which map fits better?")),
        Field(
            "shown_class", "Class that is named", "choice", "predicted", "What the page says the picture shows.",
            choices=(("predicted", "what the model says"), ("true", "the true class"), ("none", "no class")),
        ),
        Field(
            "view", "First view", "choice", "overlay", "How both maps are shown.",
            choices=(("overlay", "overlay"), ("spotlight", "spotlight on black"), ("contour", "contour")),
        ),
        Field(
            "colormap", "Colours", "choice", "cividis", "Of the overlay.",
            choices=(("cividis", "cividis"), ("magma", "magma"), ("reds", "white to red")),
        ),
        Field("opacity", "Opacity", "float", 0.6, "Of the overlay.", 0.0, 1.0),
        Field("change_view", "People may change the view", "bool", True, "Off: everyone sees the maps in one way."),
    )  # fmt: skip
    gold_fields = (
        Field(
            "choice", "The map that fits better", "choice", "first", "In the order in which the study names its maps.",
            choices=(("first", "the first"), ("second", "the second"), (NEITHER, "neither: both are equal")),
        ),
    )  # fmt: skip
    columns = (
        Column("first", "Condition of the first map of the pair; the same for everyone", "text"),
        Column("second", "Condition of the second map of the pair", "text"),
        Column("left", "Condition that this person saw on the left", "text"),
        Column("right", "Condition that this person saw on the right", "text"),
        Column("chosen", "Condition that was preferred; empty: neither", "text"),
        Column("side", "Side that was preferred", "left, right, neither"),
        Column("neither", "The person preferred neither", "true, false"),
        Column("preference", "Point on the scale, plus: the second map; empty: no scale", "-3 to 3"),
        Column("first_classifier", "UUID of the classifier that the first map explains", "UUID"),
        Column("second_classifier", "UUID of the classifier that the second map explains", "UUID"),
        Column("first_method", "How the first map was made", "text"),
        Column("second_method", "How the second map was made", "text"),
    )  # fmt: skip

    def check_sets(self, groups: "Sequence[Group]", settings: Mapping[str, Any]) -> None:
        for group in groups:
            first, second = group.sets
            if first.target != second.target:
                where = f"“{group.name}”: " if group.name else ""
                raise StudyRefused(
                    f"{where}One set explains {first.get_target_display()}, the other {second.get_target_display()}. "
                    "People could not say which fits better. Choose two sets of the same."
                )

    def clean_gold(self, values: Mapping[str, Any]) -> dict[str, Any]:
        if not values.get("choice"):
            raise StudyRefused("This right answer does not fit. Say which map fits better, or neither.")
        return super().clean_gold(values)

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
            "form": settings["form"],
            "neither": settings["neither"],
            "question": settings["question"],
            "points": points(settings["neither"]) if settings["form"] == SLIDER else [],
            "view": settings["view"],
            "colormap": settings["colormap"],
            "opacity": settings["opacity"],
            "change_view": settings["change_view"],
        }

    def clean(
        self, assignment: Assignment, payload: Any, drawing: bytes | None, settings: Mapping[str, Any]
    ) -> Cleaned:
        neither = settings["neither"]
        if settings["form"] == CHOICE:
            allowed = (LEFT, NEITHER, RIGHT) if neither else (LEFT, RIGHT)
            given = payload.get("choice") if isinstance(payload, Mapping) else None
            if not isinstance(given, str) or given not in allowed:
                raise AnswerInvalid({"choice": str(_CHOOSE if neither else _CHOOSE_ONE)})
            return Cleaned({"choice": given})
        data = checked(PointSerializer(data=payload))
        if data[PREFERENCE] == 0 and not neither:
            raise AnswerInvalid({PREFERENCE: str(_CHOOSE_ONE)})
        return Cleaned({PREFERENCE: data[PREFERENCE]})

    def record(self, answer: Answer, cleaned: Cleaned, assignment: Assignment) -> None:
        if answer.revision > 1:
            answer.judgements.all().delete()
        if PREFERENCE in cleaned.payload:
            toward_second = _turned(cleaned.payload[PREFERENCE], assignment)
            Judgement.objects.create(answer=answer, question=PREFERENCE, number=toward_second)
            return
        slot = _slot(cleaned.payload, assignment)
        if slot is None:
            Judgement.objects.create(answer=answer, question=NEITHER, truth=True)
            return
        stimulus = next(item for item in assignment.trial.stimuli.all() if item.slot == slot)
        Judgement.objects.create(answer=answer, stimulus=stimulus, question=CHOSEN, truth=True)

    def grade(self, assignment: Assignment, cleaned: Cleaned, gold: Mapping[str, Any]) -> Grade:
        expected = {"first": 0, "second": 1}.get(gold["choice"])
        right = _slot(cleaned.payload, assignment) == expected
        if expected is None:
            said = _("Correct: both maps fit equally well.") if right else _("Both maps fit equally well.")
            return Grade(right, said)
        if assignment.order.index(expected) == 0:
            return Grade(right, _("Correct: the left map fits better.") if right else _("The left map fits better."))
        return Grade(right, _("Correct: the right map fits better.") if right else _("The right map fits better."))

    def in_words(self, assignment: Assignment) -> list[str]:
        for judgement in assignment.answer.judgements.all():
            if judgement.question == PREFERENCE:
                return [str(_SAID[int(_turned(judgement.number or 0, assignment))])]
            if judgement.question == CHOSEN and judgement.stimulus is not None:
                left = assignment.order.index(judgement.stimulus.slot) == 0
                return [_("the left map") if left else _("the right map")]
        return [_("neither")]

    def statistics(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> dict[str, Any]:
        from annotation.statistics.preference import figures

        return figures(study, kinds)

    def tables(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> list[Table]:
        from annotation.statistics.preference import tables

        return tables(self.statistics(study, kinds))

    def export_rows(self, answers: "QuerySet[Answer]", *, full: bool = False) -> Iterator[dict[str, Any]]:
        from annotation.exchange.preference_rows import preference

        return preference(answers)


def points(neither: bool) -> list[dict[str, Any]]:
    """The points of the scale from left to right, each with its words and its key."""
    values = [value for value in range(-MOST, MOST + 1) if value or neither]
    return [
        {"value": value, "shown": "‹" * -value or "›" * value or "=", "words": _SAID[value], "key": key}
        for key, value in enumerate(values, start=1)
    ]


def _turned(value: float, assignment: Assignment) -> float:
    """Between a point by side (plus: right) and by stimulus (plus: the second); the same both ways."""
    return value if assignment.order[0] == 0 else -value


def _slot(payload: Mapping[str, Any], assignment: Assignment) -> int | None:
    """The slot that a checked payload prefers; None: neither."""
    if PREFERENCE in payload:
        side = (payload[PREFERENCE] > 0) - (payload[PREFERENCE] < 0)
    else:
        side = {LEFT: -1, RIGHT: 1}.get(payload["choice"], 0)
    return None if side == 0 else int(assignment.order[0 if side < 0 else 1])
