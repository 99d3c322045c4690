"""Practice, qualification and check trials of a draft: seen by phase, added one by one or from a table."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from annotation import extra_trials
from annotation.admin.builder_names import line, typed
from annotation.errors import StudyRefused
from annotation.models import Study, Trial
from annotation.studies import Kind, kind_of
from annotation.trial_tables import EXTRA_PHASES, ExtraTrial, TableInvalid, decoded, extra_trials_of
from harmony.inputs import Input
from harmony.pictures import answer
from harmony.templatetags.researcher import option
from mlcore.catalogue.fields import Field, RecipeError, clean_fields
from mlcore.exchange import render
from mlcore.models import Image

PREFIX = "gold-"
FOUND = 24
SHOWN = 200
SIDE = 96  # px of a thumbnail
WHAT = {
    "practice": "First, with a word after each. They are never counted.",
    "qualification": "Then; who does not reach the pass mark in the tries allowed is screened out.",
    "check": "Mixed into the main trials, with an instruction that only who looks can follow.",
}
WORDS = (
    Field("instruction", "Instruction", "text", "", "Stands on top of the trial. A check needs one or a plain case."),
    Field("feedback", "What is said afterwards", "text", "", "In practice, after the kind’s own words."),
)


@dataclass(frozen=True)
class PhaseView:
    """A phase with its trials in order."""

    name: str
    what: str
    trials: list[Any]
    total: int


@dataclass
class TrialForm:
    """The form for one more trial, with what was typed and what is wrong with it."""

    values: dict[str, str]
    errors: dict[str, str]
    gold: list[Input]
    words: list[Input]
    known: bool

    @property
    def phase(self) -> str:
        return self.values.get("phase", EXTRA_PHASES[0])

    @property
    def image(self) -> str:
        return self.values.get("image", "")

    @property
    def group(self) -> str:
        return self.values.get("group", "")


class TrialPages:
    """The part of the study's admin about trials around the main ones."""

    render: Any
    seen: Any

    def trial_routes(self) -> tuple[tuple[str, Any, str], ...]:
        return (
            ("<int:pk>/trials/", self.trials_page, "trials"),
            ("<int:pk>/trials/images/", self.trial_images, "trial_images"),
            ("<int:pk>/trials/images/<int:image>/", self.trial_thumbnail, "trial_thumbnail"),
            ("<int:pk>/trials/table/", self.trial_table, "trial_table"),
            ("<int:pk>/trials/<int:trial>/delete/", self.trial_delete, "trial_delete"),
            ("<int:pk>/trials/<int:trial>/move/<str:way>/", self.trial_move, "trial_move"),
        )

    def trials_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The trials by phase and a form for one more; with POST, that trial."""
        study = self.seen(request, pk)
        values = typed(request.POST)
        errors: dict[str, str] = {}
        if request.method == "POST" and not values.get("do"):
            item = _item(study, values, errors)
            if item is not None:
                try:
                    extra_trials.add(study, request.user, [item])
                    messages.success(request, f"{item.image.name} is added.")
                    return _back(pk)
                except StudyRefused as refused:
                    errors["image"] = refused.sentence
        return self._trials(request, study, values, errors)

    @method_decorator(require_POST)
    def trial_table(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Trials from a table, all of them or none; every wrong line is named."""
        study = self.seen(request, pk)
        text, wrong = request.POST.get("table", ""), []
        try:
            upload = request.FILES.get("file")
            text = decoded(upload.read()) if upload is not None else text
            made = extra_trials.add(study, request.user, extra_trials_of(text, study, kind_of(study)))
            messages.success(request, f"{made} trial{'s are' if made != 1 else ' is'} added.")
            return _back(pk)
        except TableInvalid as refused:
            wrong = refused.lines
        except StudyRefused as refused:
            wrong = [refused.sentence]
        return self._trials(request, study, {}, {}, table=text, wrong=wrong)

    def trial_images(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Images whose name holds what was typed, to choose from: a part of the page."""
        study = self.seen(request, pk)
        return self.render(
            request, "admin/harmony/study_trial_images.html", obj=study, study=study,
            **_images(study, request.GET.get("q", ""), request.GET.get("image", "")),
        )  # fmt: skip

    def trial_thumbnail(self, request: HttpRequest, pk: int, image: int) -> HttpResponse:
        """A small picture of the study's image set: whoever manages the study may see it, whoever owns the images."""
        study = self.seen(request, pk)
        row = get_object_or_404(Image, pk=image, image_set=study.image_set_id)
        return answer(request, f"{row.sha256}-{SIDE}", lambda: render.thumbnail(row, SIDE))

    @method_decorator(require_POST)
    def trial_delete(self, request: HttpRequest, pk: int, trial: int) -> HttpResponse:
        row = get_object_or_404(Trial, pk=trial, study=self.seen(request, pk), phase__in=EXTRA_PHASES)
        try:
            extra_trials.remove_trial(row, request.user)
        except StudyRefused as refused:
            messages.error(request, refused.sentence)
        return _back(pk)

    @method_decorator(require_POST)
    def trial_move(self, request: HttpRequest, pk: int, trial: int, way: str) -> HttpResponse:
        row = get_object_or_404(Trial, pk=trial, study=self.seen(request, pk), phase__in=EXTRA_PHASES)
        try:
            extra_trials.move_trial(row, request.user, -1 if way == "up" else 1)
        except StudyRefused as refused:
            messages.error(request, refused.sentence)
        return _back(pk)

    def _trials(
        self, request: HttpRequest, study: Study, values: dict[str, str], errors: dict[str, str],
        *, table: str = "", wrong: list[str] | None = None,
    ) -> HttpResponse:  # fmt: skip
        kind = kind_of(study)
        return self.render(
            request,
            "admin/harmony/study_trials.html",
            obj=study,
            title=f"Practice, qualification and checks of “{study}”",
            study=study,
            kind=kind,
            draft=study.state == Study.State.DRAFT,
            phases=phases_of(study, kind),
            arms=list(study.arms.values_list("name", flat=True)),
            form=_form(kind, values, errors),
            columns=["phase", "image", "group", *(item.name for item in kind.gold_fields), "instruction", "feedback"],
            table=table,
            wrong=wrong or [],
            **_images(study, values.get("q", ""), values.get("image", "")),
            status=422 if errors or wrong else 200,
        )


def phases_of(study: Study, kind: Kind) -> list[PhaseView]:
    """Each phase's trials with their image, condition and right answer in words, in a fixed number of queries."""
    found = []
    trials = study.trials.filter(phase__in=EXTRA_PHASES).select_related("image", "arm").order_by("random_key", "pk")
    for phase in EXTRA_PHASES:
        rows: list[Any] = list(trials.filter(phase=phase)[:SHOWN])
        total = len(rows) if len(rows) < SHOWN else trials.filter(phase=phase).count()
        for row in rows:
            row.gold_words = gold_words(kind, row.gold)
            row.instruction = row.context.get("instruction", "")
            row.feedback = (row.gold or {}).get("feedback", "")
        found.append(PhaseView(phase, WHAT[phase], rows, total))
    return found


def gold_words(kind: Kind, gold: dict[str, Any] | None) -> list[str]:
    """The right answer as a person reads it; nothing where there is none."""
    said = (gold or {}).get("answer") or {}
    known = {item.name: item for item in kind.gold_fields}
    return [
        f"{known[name].label}: {option(known[name], value)}" if name in known else f"{name}: {value}"
        for name, value in said.items()
        if value not in ("", None)
    ]


def _form(kind: Kind, values: dict[str, str], errors: dict[str, str]) -> TrialForm:
    return TrialForm(
        values, errors,
        [line(item, values, errors, PREFIX) for item in kind.gold_fields],
        [line(item, values, errors) for item in WORDS],
        values.get("known", "no") == "yes" if values else not kind.gold_fields,
    )  # fmt: skip


def _item(study: Study, values: dict[str, str], errors: dict[str, str]) -> ExtraTrial | None:
    """The trial that was typed; None where something is wrong, said under its name."""
    kind = kind_of(study)
    if values.get("phase") not in EXTRA_PHASES:
        errors["phase"] = f"Choose one of: {', '.join(EXTRA_PHASES)}."
    wanted = values.get("image", "")
    image = Image.objects.filter(image_set=study.image_set_id, pk=wanted if wanted.isdigit() else 0).first()
    if image is None:
        errors["image"] = "Choose an image."
    for name in ("instruction", "feedback"):
        if len(values.get(name, "")) > 500:
            errors[name] = "At most 500 characters."
    right = None
    if values.get("known") != "yes" and kind.gold_fields:
        try:
            right = clean_fields(
                kind.gold_fields, {item.name: values.get(f"{PREFIX}{item.name}") for item in kind.gold_fields}
            )
        except RecipeError as refused:
            errors.update({f"{PREFIX}{name}": sentence for name, sentence in refused.errors.items()})
    if errors or image is None:
        return None
    return ExtraTrial(
        values["phase"], image, values.get("group", ""), right,
        values.get("instruction", "").strip(), values.get("feedback", "").strip(),
    )  # fmt: skip


def _images(study: Study, query: str, chosen: str) -> dict[str, Any]:
    """Images to choose from: those that the main trials show first, by what their names hold."""
    rows: QuerySet[Image] = Image.objects.filter(image_set=study.image_set_id).order_by("name")
    query = query.strip()[:200]
    if query:
        rows = rows.filter(name__icontains=query)
    found = list(rows[: FOUND + 1])
    if chosen.isdigit() and not any(str(row.pk) == chosen for row in found[:FOUND]):
        found = [*rows.model.objects.filter(image_set=study.image_set_id, pk=int(chosen)), *found]
    return {"images": found[:FOUND], "more": len(found) > FOUND, "query": query, "chosen": chosen}


def _back(pk: int) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:annotation_study_trials", args=[pk]))


__all__ = ["PhaseView", "TrialPages", "gold_words", "phases_of"]
