"""The form that starts phase 2 from a study's page: which answers, which classifier, how strongly."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest

from annotation import feedback
from annotation.errors import FeedbackRefused, StudyRefused
from annotation.models import Assignment, Participant, Study
from annotation.studies import KINDS
from harmony.forms import ActionForm
from harmony.researcher import owned
from mlcore.catalogue import METHODS, OBJECTIVES, fields_for
from mlcore.models import ExplanationSet, Partition
from mlcore.runs.start import RunRefused

OVERRIDES = ("attention_weight", "epochs", "learning_rate")


class SetChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: ExplanationSet) -> str:
        return f"{obj.classifier}, {METHODS[obj.method].title if obj.method in METHODS else obj.method}"


class StudyChoice(forms.ModelMultipleChoiceField):
    def label_from_instance(self, obj: Study) -> str:
        return f"{obj} ({KINDS[obj.kind].title.lower() if obj.kind in KINDS else obj.kind})"


class PartitionChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: Partition) -> str:
        return obj.name


class Phase2Form(ActionForm):
    """Everything is filled in so that one press suffices."""

    refusals = (FeedbackRefused, RunRefused, StudyRefused)

    maps = SetChoice(
        ExplanationSet.objects.none(), label="Classifier that learns", empty_label=None,
        help_text="The one whose maps people rated, or whose images they drew on.",
    )  # fmt: skip
    partition = PartitionChoice(
        Partition.objects.none(), empty_label=None,
        help_text="Its training part is learned again, its validation part chooses the epoch.",
    )  # fmt: skip
    companions = StudyChoice(
        Study.objects.none(), label="Together with", required=False, widget=forms.CheckboxSelectMultiple,
        help_text="Ratings say how much an image counts, drawn maps say where to look.",
    )  # fmt: skip
    kinds = forms.ChoiceField(label="Whose answers")
    objective = forms.ChoiceField(
        choices=[(spec.name, spec.title) for spec in OBJECTIVES.values() if spec.fields], initial="gradia"
    )
    attention_weight = forms.FloatField(
        label="Weight of attention, λ", required=False, min_value=0, help_text="Empty: 1, as published."
    )
    epochs = forms.IntegerField(required=False, min_value=1, help_text="Empty: as in phase 1.")
    learning_rate = forms.FloatField(required=False, min_value=0, help_text="Empty: as in phase 1.")

    def __init__(self, *args: Any, user: Any, study: Study, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = owned(Study.objects.filter(pk__in=[row.pk for row in feedback.companions(study)]), user)
        self.fields["companions"].queryset = others  # type: ignore[attr-defined]
        self.initial.setdefault("companions", list(others))
        if not others.exists():
            del self.fields["companions"]
        sets = candidates([study, *others], user)
        self.fields["maps"].queryset = sets  # type: ignore[attr-defined]
        first = sets.first()
        self.initial.setdefault("maps", first)
        partitions = owned(Partition.objects.filter(image_set=study.image_set_id), user)
        self.fields["partition"].queryset = partitions  # type: ignore[attr-defined]
        if first is not None and first.classifier.run is not None:
            self.initial.setdefault("partition", first.classifier.run.partition_id)
        self.fields["kinds"].choices = _kinds([study, *others])  # type: ignore[attr-defined]


def form_for(request: HttpRequest, study: Study) -> Phase2Form:
    """The form over `feedback.start_phase2`; its `perform` returns (run, control)."""

    def act(form: ActionForm) -> Any:
        given = form.cleaned_data
        classifier = given["maps"].classifier
        recipe = feedback.phase2_recipe(classifier, given["partition"])
        # Options of another objective than phase 2's usual one are not its own.
        known = {field.name for field in fields_for("train", {"objective": given["objective"]})}
        recipe = {name: value for name, value in recipe.items() if name in known}
        recipe["objective"] = given["objective"]
        recipe |= {name: given[name] for name in OVERRIDES if given.get(name) is not None}
        companions = list(given.get("companions") or [])
        return feedback.start_phase2(
            study,
            request.user,
            ratings=[row for row in companions if row.kind == "reasonability"],
            drawings=[row for row in companions if row.kind == "map_drawing"],
            classifier=classifier,
            explanation_set=given["maps"],
            partition=given["partition"],
            recipe=recipe,
            kinds=given["kinds"].split("+"),
        )

    data = request.POST if request.method == "POST" else None
    return Phase2Form(data, action=act, user=request.user, study=study)


def candidates(studies: list[Study], user: Any) -> QuerySet[ExplanationSet]:
    """Sets of maps that were shown in the studies, or that their images were chosen from; rated ones first."""
    named = {
        uuid
        for study in studies
        for version in study.versions.all()
        for uuid in version.settings.get("explanation_sets", [])
    }
    shown = ExplanationSet.objects.filter(explanations__stimulus__trial__study__in=studies).values("pk")
    seen = owned(ExplanationSet.objects.select_related("classifier__run", "image_set"), user)
    return (seen.filter(pk__in=shown) | seen.filter(uuid__in=named)).order_by("pk")


def _kinds(studies: list[Study]) -> list[tuple[str, str]]:
    """Whose answers there are: people's alone stand first where people have answered."""
    answered = set(
        Participant.objects.filter(study__in=studies, assignments__state=Assignment.State.ANSWERED).values_list(
            "kind", flat=True
        )
    )
    titles = {"human": "people", "simulated": "scripted annotators", "imported": "imported people"}
    choices = [("human", "People alone")] if "human" in answered or not answered else []
    others = sorted(answered - {"human"}, key=list(titles).index)
    if others:
        together = [kind for kind in titles if kind in answered]
        choices.append(("+".join(together), " and ".join(titles[kind] for kind in together).capitalize()))
    return choices
