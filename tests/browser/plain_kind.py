"""A kind of study that is only a form: one of every control that form.js knows, and no script of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotation.errors import AnswerInvalid
from annotation.models import Answer, Assignment, Judgement
from annotation.studies.base import Cleaned, Grade, Kind
from mlcore.catalogue.fields import Field

TEMPLATES = Path(__file__).parent / "templates"


class Plain(Kind):
    name = "plain"
    title = "Plain"
    summary = "One of every control."
    task = "Say what you see."
    template = "tests/plain.html"
    maps_at_most = 2
    gold_fields = (Field("certain", "Certain", "choice", "yes", choices=(("yes", "yes"), ("no", "no"))),)

    def page_context(self, assignment: Assignment, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return {"maps": list(range(len(assignment.order))), "view": "spotlight"}

    def clean(
        self, assignment: Assignment, payload: Any, drawing: bytes | None, settings: Mapping[str, Any]
    ) -> Cleaned:
        if payload.get("maps", [{}])[0].get("position") != 0:
            raise AnswerInvalid({"maps": "The constant did not arrive."})
        if not isinstance(payload.get("certain"), bool):
            raise AnswerInvalid({"certain": "Say whether you are certain."})
        return Cleaned(payload)

    def record(self, answer: Answer, cleaned: Cleaned, assignment: Assignment) -> None:
        answer.judgements.all().delete()
        Judgement.objects.create(answer=answer, question="certain", truth=cleaned.payload["certain"])

    def grade(self, assignment: Assignment, cleaned: Cleaned, gold: Mapping[str, Any]) -> Grade:
        right = cleaned.payload["certain"] is (gold["certain"] == "yes")
        return Grade(right, "One can be certain here." if gold["certain"] == "yes" else "Nobody can be certain here.")

    def in_words(self, assignment: Assignment) -> list[str]:
        return ["certain" if assignment.answer.judgements.get().truth else "not certain"]
