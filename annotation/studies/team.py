"""Team (visual correspondence, definitions §6): is the AI right?

The page shows a picture, what a classifier says it is, how sure it is, and one explanation: none, a heat map, the
nearest neighbours, or neighbours with matched patches. The person accepts or rejects the label. Whether the classifier
is right is computed from the image's labels and never leaves the server before the answer.

People alone are an arm of their own: the page asks whether the picture shows the class and says nothing of an AI.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import F, OuterRef, Subquery
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop
from rest_framework import serializers

from annotation.errors import StudyRefused
from annotation.models import Answer, Assignment, Judgement, Study, Trial
from annotation.studies.base import HUMAN_ONLY, Cleaned, Column, Grade, Kind, Table
from annotation.studies.serializers import StrictBoolean, StrictInteger, checked
from annotation.team_names import CONFIDENCE as OWN
from annotation.team_names import alone_in, speaks
from mlcore.catalogue.fields import Field
from mlcore.exchange.match_marks import NEIGHBOUR_UNITS, PICTURE_UNITS, class_name, marks, readable, units
from mlcore.models import Explanation, ExplanationSet, Image, ImageLabel, Prediction
from mlcore.models.images import LABEL_SOURCE

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from annotation.studies.trials import Group

ACCEPT, CONFIDENCE = "accept", "confidence"
SCALE = range(1, 6)
ALONE_TASK = gettext_noop("Look at the picture and at the name beside it, and say whether the name is right.")
# Words by which people alone would learn that an AI is in play.
_SPEAKS_OF_AI = re.compile(
    r"\b(?:AIs?|A\.I\.|KIs?|artificial intelligence|künstliche\w* Intelligenz|classifiers?|Klassifikator\w*|"
    r"algorithms?|Algorithm\w*|neural net\w*|neuronale\w* Netz\w*|machine learning)\b"
)
_SURE = gettext_lazy("Say how sure you are, from 1 to 5.")


class AcceptSerializer(serializers.Serializer):
    """`{"accept": true}`, with `"confidence": 1…5` where the study asks for it."""

    accept = StrictBoolean()
    confidence = StrictInteger(
        min_value=SCALE[0], max_value=SCALE[-1],
        error_messages=dict.fromkeys(("required", "null", "invalid", "min_value", "max_value"), _SURE),
    )  # fmt: skip

    def __init__(self, *args: Any, asks_confidence: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not asks_confidence:
            self.fields.pop(CONFIDENCE)


class Team(Kind):
    name = "team"
    title = "Human–AI team"
    summary = "People see what the classifier says and why, and accept or reject it."
    task = gettext_noop("Look at the picture and at what the AI says about it, and say whether the AI is right.")
    template = "annotation/team.html"
    maps_at_least = 0
    maps_at_most = 1
    payloads = ("map", "neighbours", "matches")
    condition_modes = ("between", "within")
    none_condition = True
    alone_condition = True
    fields = (
        Field("question", "Question", "text", gettext_noop("Is the AI right?")),
        Field(
            "question_alone", "Question of people alone", "text", gettext_noop("Is this {class}?"),
            "Where a condition says nothing of an AI; {class} becomes the name with its article.",
        ),
        Field("show_confidence", "Show how sure the AI is", "bool", True, "In per cent, beside its label."),
        Field(
            "own_confidence", "Ask how sure people are", "choice", "none", "A second question, after yes or no.",
            choices=(("none", "no"), ("scale", "from 1 to 5")),
        ),
        Field("question_confidence", "Second question", "text", gettext_noop("How sure are you?"), "From 1 to 5."),
        Field("neighbours_shown", "Neighbours shown", "int", 5, "At most so many, the nearest first.", 1, 10),
        Field(
            "shown_class", "Class that is named", "choice", "predicted", "Here always what the classifier says.",
            choices=(("predicted", "what the model says"),),
        ),
        Field(
            "view", "View of a heat map", "choice", "overlay", "",
            choices=(("overlay", "overlay"), ("spotlight", "spotlight on black"), ("contour", "contour")),
        ),
        Field(
            "colormap", "Colours of a heat map", "choice", "cividis", "",
            choices=(("cividis", "cividis"), ("magma", "magma")),
        ),
        Field("opacity", "Opacity of a heat map", "float", 0.6, "Of the overlay.", 0.0, 1.0),
        Field(
            "compared", "Comparisons declared", "choice", "pairs",
            "Their p values are corrected together, by Holm; what is chosen when the study is published counts.",
            choices=(("pairs", "every pair of conditions"), ("first", "each condition with the first one")),
        ),
    )  # fmt: skip
    gold_fields = (Field(ACCEPT, "The AI is right", "bool", True, "About this picture: what people should say."),)
    columns = (
        Column("condition", "The condition that the answer stands in; never shown to annotators", "text"),
        Column("ai_label", "The class that the page named as the AI's", "text"),
        Column("ai", "Whose answer that was; empty: not known", "head, or the method of the matcher"),
        Column("ai_confidence", "How sure the AI was; empty: not known, or nothing was said of an AI", "0 to 1"),
        Column("ai_right", "The AI's class is among the image's labels; empty: the image has none", "true, false"),
        Column("accepted", "The person said that the AI is right", "true, false"),
        Column("correct", "Accepted a right answer or rejected a wrong one; empty: not known", "true, false"),
        Column("own_confidence", "How sure the person was; empty: not asked", "1 to 5"),
        Column("explanation", "What the page showed; alone: nothing of an AI", "alone, none, map, neighbours, matches"),
        Column("method", "How the explanation was made; empty: none", "text"),
        Column("classifier", "UUID of the classifier", "UUID"),
    )

    # --- making a study -----------------------------------------------------------------------------------------

    def usual_task(self, groups: "Sequence[Group]") -> str:
        return ALONE_TASK if any(group.alone for group in groups) else self.task

    @property
    def usual_tasks(self) -> tuple[str, ...]:
        return (self.task, ALONE_TASK)

    def check_sets(self, groups: "Sequence[Group]", settings: Mapping[str, Any]) -> None:
        sets = list({item.pk: item for group in groups for item in group.needs}.values())
        names = sorted({item.classifier_id: str(item.classifier) for item in sets}.values())
        if len({item.classifier_id for item in sets}) > 1:
            raise StudyRefused(
                f"A team has one AI; these explanations belong to {', '.join(f'“{name}”' for name in names)}. "
                "One classifier's head and its matchers may be compared; compare classifiers in studies of their own."
            )
        for item in sets:
            if item.target != ExplanationSet.Target.PREDICTED:
                raise StudyRefused(
                    f"“{item}” explains {item.get_target_display()}. Beside what the AI says, only an explanation of "
                    "the predicted class makes sense."
                )
            _check_fresh(item)
        for group in groups:
            if group.alone and group.sets:
                raise StudyRefused("People alone are shown nothing of an AI: this condition has no explanation.")
            if group.speaker is not None and not speaks(group.speaker):
                raise StudyRefused(f"“{group.speaker}” has no answers of its own to name: choose the classifier's.")

    def problems(self, study: Study) -> list[str]:
        if not alone_in(study):
            return []
        if study.conditions != Study.Conditions.BETWEEN:
            return ["People alone need an arm of their own: let conditions stand between people."]
        found = [where for where, text in _all_read(study) if _SPEAKS_OF_AI.search(text)]
        if not found:
            return []
        return [f"People alone read the {', the '.join(found)} too: say nothing of an AI or a classifier there."]

    def neighbours_ahead(self, settings: Mapping[str, Any]) -> int:
        return int(settings["neighbours_shown"])

    def known_gold(self, trial: Trial) -> dict[str, Any] | None:
        right = _ai_right(trial)
        return None if right is None else {ACCEPT: right}

    def grade(self, assignment: Assignment, cleaned: Cleaned, gold: Mapping[str, Any]) -> Grade:
        ai_right = bool(gold[ACCEPT])
        correct = cleaned.payload[ACCEPT] == ai_right
        name = _true_name(assignment.trial, ai_right)
        if is_alone(assignment.trial):
            return Grade(correct, _graded_alone(correct, ai_right, name))
        if name:
            sentence = {
                (True, True): _("Right. It is %s."),
                (True, False): _("Right. It is %s, so the AI was wrong."),
                (False, True): _("Not quite: it is %s, so the AI was right."),
                (False, False): _("Not quite: it is %s, so the AI was wrong."),
            }[correct, ai_right]
            return Grade(correct, sentence % _with_article(name))
        sentence = {
            (True, True): _("Right. The AI is right here."),
            (True, False): _("Right. The AI is wrong here."),
            (False, True): _("Not quite: the AI is right here."),
            (False, False): _("Not quite: the AI is wrong here."),
        }[correct, ai_right]
        return Grade(correct, sentence)

    # --- a trial's page and answer ------------------------------------------------------------------------------

    def page_context(self, assignment: Assignment, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        settings = settings or assignment.trial.study.version.settings
        context = assignment.trial.context
        confidence = context.get("confidence") if settings["show_confidence"] else None
        explanation = explanation_of(assignment.trial)
        alone = is_alone(assignment.trial)
        payload = explanation.payload if explanation else "none"
        name = readable(context.get("class_name") or "")
        shown = neighbours_of(explanation, assignment.trial.image, settings) if explanation else []
        width, height = units(assignment.trial.image, PICTURE_UNITS)
        return {
            "uuid": str(assignment.trial.uuid),
            "class_name": name,
            "alone": alone,
            "confidence": None if confidence is None else round(100 * confidence),
            "question": _question_alone(settings, name) if alone else settings["question"],
            "asks_confidence": settings["own_confidence"] == "scale",
            "question_confidence": settings["question_confidence"],
            "scale": SCALE,
            "explanation": payload,
            "width": width,
            "height": height,
            "neighbours": shown,
            "patches": range(1, 1 + max((len(item["on_picture"]) for item in shown), default=0)),
            "view": settings["view"],
            "colormap": settings["colormap"],
            "opacity": settings["opacity"],
        }

    def clean(
        self, assignment: Assignment, payload: Any, drawing: bytes | None, settings: Mapping[str, Any]
    ) -> Cleaned:
        asked = settings["own_confidence"] == "scale"
        return Cleaned(checked(AcceptSerializer(data=payload, asks_confidence=asked)))

    def record(self, answer: Answer, cleaned: Cleaned, assignment: Assignment) -> None:
        if answer.revision > 1:
            answer.judgements.all().delete()
        rows = [Judgement(answer=answer, question=ACCEPT, truth=cleaned.payload[ACCEPT])]
        if CONFIDENCE in cleaned.payload:
            rows.append(Judgement(answer=answer, question=CONFIDENCE, number=cleaned.payload[CONFIDENCE]))
        Judgement.objects.bulk_create(rows)

    def in_words(self, assignment: Assignment) -> list[str]:
        said = {judgement.question: judgement.value for judgement in assignment.answer.judgements.all()}
        if is_alone(assignment.trial):
            lines = [_("the name is right") if said.get(ACCEPT) else _("the name is wrong")]
        else:
            lines = [_("the AI is right") if said.get(ACCEPT) else _("the AI is wrong")]
        if CONFIDENCE in said:
            lines.append(_("sure: %d of 5") % int(said[CONFIDENCE] or 0))
        return lines

    # --- figures ------------------------------------------------------------------------------------------------

    def statistics(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> dict[str, Any]:
        from annotation.statistics.team import figures

        return figures(study, kinds)

    def tables(self, study: Study, kinds: Sequence[str] = HUMAN_ONLY) -> list[Table]:
        from annotation.statistics.team_tables import tables

        return tables(self.statistics(study, kinds))

    def export_rows(self, answers: "QuerySet[Answer]", *, full: bool = False) -> Iterator[dict[str, Any]]:
        from annotation.exchange.team_rows import team

        return team(answers)


def is_alone(trial: Trial) -> bool:
    """Whether the trial's page says nothing of an AI."""
    return bool(trial.context.get("alone"))


def explanation_of(trial: Trial) -> Explanation | None:
    """The one explanation that the trial shows; None in a condition without one."""
    return next((shown.explanation for shown in trial.stimuli.all() if shown.explanation is not None), None)


def neighbours_of(explanation: Explanation, image: Image, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The neighbours that the page shows, nearest first, and their patches in units of the drawings over them.

    `index` is the place in the explanation, which the picture's address holds. A picture that is there no more is
    passed over.
    """
    listed = explanation.data.get("neighbours", [])[: settings["neighbours_shown"]]
    if not listed:
        return []
    rows = Image.objects.filter(uuid__in=[item["image"] for item in listed]).select_related("image_set")
    pictures = {str(row.uuid): row for row in rows}
    shown = []
    for index, item in enumerate(listed):
        row = pictures.get(item["image"])
        if row is None:
            continue
        width, height = units(row, NEIGHBOUR_UNITS)
        name = class_name(row.image_set.classes, item["label"])
        shown.append(
            {"index": index, "name": name, "width": width, "height": height}
            | marks(item.get("patches", []), units(image, PICTURE_UNITS), (width, height))
        )
    return shown


def _ai_right(trial: Trial) -> bool | None:
    """Whether the class that the page names is among the image's labels; None where nobody said what it shows."""
    from annotation.statistics.team_table import right_of

    return right_of(trial.study, [(trial.pk, trial.image_id, trial.context.get("class_name"))]).get(trial.pk)


def _true_name(trial: Trial, ai_right: bool) -> str:
    """What the picture shows, in words; empty where nobody said so, or labels contradict a researcher's answer."""
    if _ai_right(trial) is not ai_right:
        return ""
    if ai_right:
        return readable(trial.context["class_name"])
    classes = trial.study.image_set.classes
    labels = ImageLabel.objects.filter(image=trial.image_id, source=LABEL_SOURCE).order_by("index")
    names = [str(classes[index]) for index in labels.values_list("index", flat=True) if index < len(classes)]
    return ", ".join(map(readable, names))


def _with_article(name: str) -> str:
    """English wants “an” before a vowel; other languages translate both to the bare name."""
    return (_("an %s") if name[:1].lower() in "aeiou" else _("a %s")) % name


def _question_alone(settings: Mapping[str, Any], name: str) -> str:
    """The question with the class in it. A version from before there were people alone asks the usual one."""
    asked = settings.get("question_alone") or _("Is this {class}?")
    return str(asked).replace("{class}", _with_article(name))


def _graded_alone(correct: bool, name_is_right: bool, name: str) -> str:
    if name:
        return (_("Right. It is %s.") if correct else _("Not quite: it is %s.")) % _with_article(name)
    if name_is_right:
        return _("Right. The name is right here.") if correct else _("Not quite: the name is right here.")
    return _("Right. The name is wrong here.") if correct else _("Not quite: the name is wrong here.")


def _all_read(study: Study) -> Iterator[tuple[str, str]]:
    """What everyone reads, whatever their arm: (where, text) in every language of the study."""
    version = study.versions.order_by("-number").first()
    if version is None:
        return
    said = [version.translations.get(language, {}) for language in version.translations]
    for where, first in (("title", version.title), ("task", version.task), ("consent", version.consent)):
        yield where, " ".join([first, *(str(other.get(where, "")) for other in said)])
    for number, page in enumerate(version.plan.get("introduction", [])):
        others = [other["introduction"][number] for other in said if len(other.get("introduction", [])) > number]
        texts = [str(one.get(key, "")) for one in (page, *others) for key in ("title", "text")]
        yield f"introduction's page {number + 1}", " ".join(texts)
    told = study.trials.filter(arm__name__in=alone_in(study)).exclude(phase="main")
    for gold, context in told.values_list("gold", "context"):
        yield "feedback of a trial", str((gold or {}).get("feedback") or "")
        yield "instruction of a trial", str(context.get("instruction") or "")


def _check_fresh(item: ExplanationSet) -> None:
    """Neighbours or a map of one class beside another class as the AI's answer would explain nothing.

    An explanation that speaks for itself is of its own answer, whatever the classifier's head says.
    """
    says = Prediction.objects.filter(classifier=item.classifier_id, image=OuterRef("image")).values("label")[:1]
    explained = Explanation.objects.filter(set=item).exclude(data__has_key=OWN).annotate(says=Subquery(says))
    stale = explained.exclude(says=None).exclude(says=F("target")).count()
    if stale:
        raise StudyRefused(
            f"“{item}” explains another class than the classifier says by now, in {stale} "
            f"image{'' if stale == 1 else 's'}. Explain again, or import its rows again."
        )
