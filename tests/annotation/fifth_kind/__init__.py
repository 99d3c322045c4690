"""A kind of study that the application does not know: this module and one template are all there is to it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from annotation.exchange.rows import pieces
from annotation.models import Answer, Assignment, Judgement, Study
from annotation.statistics import table
from annotation.studies.base import HUMAN_ONLY, Cleaned, Column, Grade, Kind, Table
from annotation.studies.serializers import StrictBoolean, StrictInteger, checked
from mlcore.catalogue.fields import Field

TEMPLATES = Path(__file__).parent / "templates"


class CaptionSerializer(serializers.Serializer):
    caption = serializers.CharField(max_length=200)
    sure = StrictInteger(min_value=1, max_value=5)
    helped = StrictBoolean()


class Caption(Kind):
    """People write what a picture shows, beside a map; how sure they are and whether the map helped."""

    name = "caption"
    title = "Caption"
    summary = "People write what they see."
    task = "Write what the picture shows."
    template = "fifth/caption.html"
    maps_at_least = 1
    maps_at_most = 1
    condition_modes = ("between", "within")
    fields = (Field("question", "Question", "text", "What do you see?"),)
    gold_fields = (Field("word", "A word that must occur", "text", ""),)
    columns = (
        Column("condition", "Which explanation was shown", "text"),
        Column("caption", "What the person wrote", "text"),
        Column("sure", "How sure they are", "1 to 5"),
        Column("helped", "Whether the map helped", "true, false"),
    )

    def page_context(self, assignment: Assignment, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        settings = settings or assignment.trial.study.version.settings
        return {"question": settings["question"], "steps": [1, 2, 3, 4, 5], "view": "overlay", "opacity": 0.5}

    def clean(
        self, assignment: Assignment, payload: Any, drawing: bytes | None, settings: Mapping[str, Any]
    ) -> Cleaned:
        return Cleaned(checked(CaptionSerializer(data=payload)))

    def record(self, answer: Answer, cleaned: Cleaned, assignment: Assignment) -> None:
        answer.judgements.all().delete()
        said, (stimulus,) = cleaned.payload, assignment.trial.stimuli.all()
        Judgement.objects.create(answer=answer, question="caption", text=said["caption"])
        Judgement.objects.create(answer=answer, question="sure", number=said["sure"])
        Judgement.objects.create(answer=answer, stimulus=stimulus, question="helped", truth=said["helped"])

    def grade(self, assignment: Assignment, cleaned: Cleaned, gold: Mapping[str, Any]) -> Grade:
        right = gold["word"].lower() in cleaned.payload["caption"].lower()
        return Grade(right, f"One sees: {gold['word']}.")

    def in_words(self, assignment: Assignment) -> list[str]:
        return [assignment.answer.judgements.get(question="caption").text]

    def statistics(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> dict[str, Any]:
        said = Judgement.objects.filter(answer__in=table.counted([study], kinds))
        sure = list(said.filter(question="sure").values_list("number", flat=True))
        helped = said.filter(question="helped").values_list("stimulus__condition", "truth")
        by: dict[str, list[bool]] = {}
        for condition, truth in helped:
            by.setdefault(condition, []).append(truth)
        return {
            "kinds": list(kinds),
            "people": table.people([study], kinds),
            "answers": len(sure),
            "mean_sure": fmean(sure) if sure else None,
            "helped": {condition: fmean(values) for condition, values in sorted(by.items())},
        }

    def tables(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> list[Table]:
        found = self.statistics(study, kinds)
        return [Table("Share of maps that helped", ("Condition", "Share"), list(found["helped"].items()))]

    def export_rows(self, answers: "QuerySet[Answer]", *, full: bool = False) -> Iterator[dict[str, Any]]:
        for piece in pieces(answers):
            said: dict[int, dict[str, Any]] = {answer: {} for answer in piece}
            for row in Judgement.objects.filter(answer__in=list(piece)).select_related("stimulus"):
                said[row.answer_id][row.question] = row.value
                if row.stimulus:
                    said[row.answer_id]["condition"] = row.stimulus.condition
            for answer, common in piece.items():
                yield {key: value for key, value in common.items() if not key.startswith("_")} | said[answer]
