"""Map drawing (GRADIA, definitions §2): people paint what one needs to see to know what the picture shows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.core.files.base import ContentFile
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from rest_framework import serializers

from annotation import drawings
from annotation.errors import AnswerInvalid, StudyRefused
from annotation.models import Answer, Assignment, DrawnMap, Judgement, Study
from annotation.studies.base import HUMAN_ONLY, Cleaned, Column, Kind, Table
from annotation.studies.serializers import StrictBoolean, checked, fits
from mlcore.catalogue.fields import Field

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from annotation.studies.trials import Group

NOTHING = "nothing"
EMPTY, EXPLANATION = "empty", "explanation"
MOST_STROKES_BYTES = 512 * 1024
_REST = {"unimportant": drawings.UNIMPORTANT, "unknown": drawings.UNKNOWN}


class MapDrawingSerializer(serializers.Serializer):
    """`{"strokes": […]}` beside the file `drawing`, or `{"nothing": true}` without one.

    A stroke says how it was made, in pixels of the picture, in the order in which they were made:
    `{"t": "b", "s": diameter, "p": [x, y, …]}` brush, `"e"` the same erasing; `"w"`, one number a point, is the share
    of the diameter in per cent where a pen's pressure varied it;
    `{"t": "p", "p": [x, y, …]}` an outline of corners and what it encloses; `{"t": "f", "p": [x, y]}` a fill from
    there; both with `"e": 1` where they erased;
    `{"t": "s", "v": threshold}` the starting map, explanation ≥ threshold per cent of its maximum; `{"t": "c"}` all
    away. What was undone is not among them, and a step that changed no pixel is none.
    Strokes are a record beside the picture, which alone counts: more than 512 kB of them are left out, and
    `strokes_left_out` says so.
    """

    strokes = serializers.ListField(child=serializers.DictField(), default=list)
    nothing = StrictBoolean(default=False)


class MapDrawing(Kind):
    name = "map_drawing"
    title = "Map drawing"
    summary = "People paint where a classifier should look. Their maps become supervision."
    task = gettext_noop("Paint what one needs to see to know what the picture shows.")
    template = "annotation/map_drawing.html"
    takes_drawing = True
    maps_at_most = 1
    fields = (
        Field(
            "shown_class", "Class that is named", "choice", "true", "What the page says the picture shows.",
            choices=(("true", "the true class"), ("predicted", "what the model says"), ("none", "no class")),
        ),
        Field(
            "prompt", "What is asked", "text",
            gettext_noop("Paint what one needs to see to know that this is: {class}."),
            "{class} stands for the class that is named.",
        ),
        Field(
            "rest", "What was not painted is", "choice", "unimportant", "",
            choices=(("unimportant", "unimportant"), ("unknown", "unknown")),
        ),
        Field(
            "start", "People start from", "choice", EMPTY,
            "An explanation is shown as a painted map that they correct; they choose how much of it.",
            choices=((EMPTY, "an empty picture"), (EXPLANATION, "what the model looked at")),
        ),
    )  # fmt: skip
    columns = (
        Column("nothing", "The person saw nothing to mark; then there is no drawn map", "true, false"),
        Column("share", "Share of the image's pixels painted important", "0 to 1"),
        Column("width", "Width of the drawn map and of the image", "pixels"),
        Column("height", "Height of the drawn map and of the image", "pixels"),
        Column("map_sha256", "SHA-256 of the drawn map's file (palette PNG: 0 unknown, 1 important, 2 unimportant)"),
        Column("map_file", "Path of that file in the storage"),
    )

    def check_sets(self, groups: "Sequence[Group]", settings: Mapping[str, Any]) -> None:
        if settings.get("start", EMPTY) == EXPLANATION and not (groups and all(group.sets for group in groups)):
            raise StudyRefused(
                "People start from what the model looked at, so this study needs one explanation set. "
                "Choose one, or let them start from an empty picture."
            )

    def page_context(self, assignment: Assignment, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        settings = settings or assignment.trial.study.version.settings
        context = assignment.trial.context
        name = context.get("class_name") or " / ".join(dict.fromkeys(context.get("class_names") or []))
        prompt = settings["prompt"].replace("{class}", name) if name else _(self.task)
        image = assignment.trial.image
        return {
            "shown_class": context.get("shown", "none"),
            "class_name": name or None,
            "prompt": prompt,
            "width": image.width,
            "height": image.height,
            # A set may be there only to name the predicted class; then its maps are not shown.
            "start": settings.get("start", EMPTY) == EXPLANATION and bool(assignment.order),
        }

    def clean(
        self, assignment: Assignment, payload: Any, drawing: bytes | None, settings: Mapping[str, Any]
    ) -> Cleaned:
        data = checked(MapDrawingSerializer(data=payload))
        if not fits(data["strokes"], MOST_STROKES_BYTES):
            data |= {"strokes": [], "strokes_left_out": True}
        decoded = None
        if drawing:
            image = assignment.trial.image
            try:
                decoded = drawings.decode(drawing, (image.width, image.height), rest=_REST[settings["rest"]])
            except drawings.DrawingRefused as error:
                raise AnswerInvalid({"drawing": str(error)}) from error
        marked = decoded is not None and not decoded.is_empty
        if data[NOTHING] and marked:
            raise AnswerInvalid(
                {NOTHING: _("You painted something and said that there is nothing to mark. Choose one.")}
            )
        if not data[NOTHING] and not marked:
            raise AnswerInvalid({"drawing": _("Nothing is painted yet. Paint, or choose “I see nothing to mark”.")})
        return Cleaned(data, decoded if marked else None)

    def record(self, answer: Answer, cleaned: Cleaned, assignment: Assignment) -> None:
        if answer.revision > 1:
            answer.judgements.all().delete()
            DrawnMap.objects.filter(answer=answer).delete()
        Judgement.objects.create(answer=answer, question=NOTHING, truth=cleaned.payload[NOTHING])
        if cleaned.drawing is None:
            return
        drawing = cleaned.drawing
        row = DrawnMap(
            answer=answer,
            sha256=drawing.sha256,
            width=drawing.width,
            height=drawing.height,
            share=drawing.share,
            strokes=cleaned.payload["strokes"],
        )
        # Earlier revisions keep their files: they are named by their content, and revisions are never removed.
        name = row.file.field.generate_filename(row, "map.png")
        if row.file.storage.exists(name):
            row.file.name = name
        else:
            row.file.save("map.png", ContentFile(drawing.png), save=False)
        row.save()

    def in_words(self, assignment: Assignment) -> list[str]:
        drawn = getattr(assignment.answer, "drawn_map", None)
        if drawn is None:
            return [_("nothing to mark")]
        share = 100 * drawn.share
        return [_("%s %% painted") % number_format(share, 0 if share >= 1 else 1)]

    def statistics(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> dict[str, Any]:
        from annotation.statistics.map_drawing import figures

        return figures(study, kinds)

    def tables(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> list[Table]:
        from annotation.statistics.map_drawing import tables

        return tables(self.statistics(study, kinds))

    def export_rows(self, answers: "QuerySet[Answer]", *, full: bool = False) -> Iterator[dict[str, Any]]:
        from annotation.exchange.rows import map_drawing

        return map_drawing(answers, full=full)
