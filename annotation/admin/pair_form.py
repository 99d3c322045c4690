"""The form that makes attribution pairs and a study of them from tuned copies of a classifier."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from annotation.errors import StudyRefused
from annotation.models import Study
from annotation.pair_studies import create_pair_study
from harmony.forms import ActionForm
from harmony.researcher import owned
from mlcore.catalogue import METHODS
from mlcore.catalogue.learnable import LEARNABLE
from mlcore.exchange.pair_scores import scores_of
from mlcore.exchange.pairs import USUAL, Cell, PairsRefused, make_pairs
from mlcore.models import Classifier, ImageSet, Partition
from mlcore.models.partitions import Part
from mlcore.runs.pair_maps import BothMaps, both_maps, reading_of, tuned_for, usual_way

MOST_COPIES = 12


class TunedChoice(forms.ModelMultipleChoiceField):
    def label_from_instance(self, obj: Classifier) -> str:
        return f"{obj}: {metric_title(obj)}"


class PartitionChoice(forms.ModelChoiceField):
    def label_from_instance(self, obj: Partition) -> str:
        return obj.name


class PairForm(ActionForm):
    """Everything is filled in so that one press suffices where the maps are there."""

    refusals = (PairsRefused, StudyRefused)

    copies = TunedChoice(
        Classifier.objects.none(), label="Tuned copies", widget=forms.CheckboxSelectMultiple,
        help_text="Each is a cell with pictures of its own; people meet all of them, blind.",
    )  # fmt: skip
    method = forms.ChoiceField(label="Attribution method", help_text="How both maps of a pair are made.")
    partition = PartitionChoice(Partition.objects.none(), empty_label=None)
    part = forms.ChoiceField(
        choices=Part.choices, initial=Part.TEST,
        help_text="Pictures that trained or selected a tuned copy are left out in any case.",
    )  # fmt: skip
    n = forms.IntegerField(label="Pairs of a cell at most", initial=USUAL, min_value=1, max_value=10_000)
    k = forms.IntegerField(
        label="Answers for each pair", required=False, min_value=1, max_value=10_000,
        help_text="Empty: everyone answers every pair.",
    )  # fmt: skip
    name = forms.CharField(label="Name of the study", max_length=160)


@dataclass(frozen=True)
class Line:
    """What is there for one copy: maps of both by the chosen method, and the metric's values."""

    copy: Classifier
    metric: str
    there: BothMaps
    scored: bool
    explain_original: str
    explain_copy: str
    score: str


def copies_of(tuned: Classifier, user: Any) -> QuerySet[Classifier]:
    """This copy and the others of the same original, tuned on the same images, that this person may see."""
    rows = owned(Classifier.objects.filter(parent=tuned.parent_id, run__recipe__objective="harmony"), user)
    found = rows.filter(run__image_set=_images(tuned)).select_related("run", "parent").order_by("pk")
    return found.filter(pk__in=[tuned.pk, *found.exclude(pk=tuned.pk).values_list("pk", flat=True)[: MOST_COPIES - 1]])


def metric_title(copy: Classifier) -> str:
    metric = tuned_for(copy)
    return LEARNABLE[metric].title if metric in LEARNABLE else str(metric)


def form_for(request: HttpRequest, tuned: Classifier) -> PairForm:
    """The form over `make_pairs` and `create_pair_study`; its `perform` returns the study, a draft."""

    @transaction.atomic
    def act(form: ActionForm) -> Study:
        given = form.cleaned_data
        partition, part = given["partition"], given["part"]
        cells = [_cell(copy, partition, part, given["method"]) for copy in given["copies"]]
        pair_sets = make_pairs(cells, partition=partition, part=part, n=given["n"], owner=request.user)
        return create_pair_study(pair_sets, name=given["name"], owner=request.user, answers_per_trial=given["k"])

    data = request.POST if request.method == "POST" else None
    form = PairForm(data, action=act)
    copies = copies_of(tuned, request.user)
    partitions = owned(Partition.objects.filter(image_set=_images(tuned)), request.user)
    form.fields["copies"].queryset = copies  # type: ignore[attr-defined]
    form.fields["partition"].queryset = partitions  # type: ignore[attr-defined]
    form.fields["method"].choices = [(spec.name, spec.title) for spec in METHODS.values()]  # type: ignore[attr-defined]
    run = tuned.run
    asked = request.GET
    form.initial = {
        "copies": [tuned.pk],
        "method": asked.get("method") if asked.get("method") in METHODS else usual_way(tuned)[0],
        "partition": asked.get("partition") or (run.partition_id if run else None),
        "part": asked.get("part") if asked.get("part") in Part.values else Part.TEST.value,
        "name": f"Does {metric_title(tuned)} agree with people?"[:160],
    }
    return form


def lines(form: PairForm, tuned: Classifier, user: Any) -> list[Line]:
    """What is there and what is missing for the method and part that the form shows now."""
    values = {name: form[name].value() for name in ("method", "part", "partition")}
    partitions = form.fields["partition"].queryset  # type: ignore[attr-defined]
    chosen = values["partition"]
    partition = partitions.filter(pk=chosen).first() if str(chosen).isdigit() else None
    partition = partition or partitions.first()
    if partition is None or values["method"] not in METHODS or values["part"] not in Part.values:
        return []
    method, part = str(values["method"]), str(values["part"])
    return [_line(copy, partition, part, method) for copy in copies_of(tuned, user)]


def _line(copy: Classifier, partition: Partition, part: str, method: str) -> Line:
    there = _maps(copy, partition, part, method)
    metric = tuned_for(copy) or ""
    both = (there.original, there.tuned)
    scored = None not in both and metric in LEARNABLE and scores_of(metric, *both, part) is not None  # type: ignore[arg-type]
    plain = LEARNABLE[metric].plain if metric in LEARNABLE else ""
    shared: dict[str, Any] = {"image_set": partition.image_set_id, "partition": partition.pk, "part": part}
    explain = reading_of(copy) | shared | {"kind": "explain", "methods": method, "target": "true"}
    layer = usual_way(copy)[1]
    if layer and method == usual_way(copy)[0]:
        explain[f"{method}.layer"] = layer
    sets = ",".join(str(one.pk) for one in both if one is not None)
    return Line(
        copy=copy,
        metric=metric_title(copy),
        there=there,
        scored=scored,
        explain_original=_start(explain | {"classifier": copy.parent_id}),
        explain_copy=_start(explain | {"classifier": copy.pk}),
        score=_start(shared | {"kind": "score", "metrics": plain, "explanation_sets": sets}) if sets else "",
    )


def _start(query: dict[str, Any]) -> str:
    return f"{reverse('admin:mlcore_run_start')}?{urlencode(query)}"


def _cell(copy: Classifier, partition: Partition, part: str, method: str) -> Cell:
    found = _maps(copy, partition, part, method)
    if found.original is None or found.tuned is None:
        raise PairsRefused(
            f"“{copy}” and “{copy.parent}” have no maps of the true class by {METHODS[method].title} that were made in "
            f"one way, for images of the part “{Part(part).label}”. Explain both first: the links are below."
        )
    return Cell(tuned_for(copy) or "", found.original, found.tuned)


def _maps(copy: Classifier, partition: Partition, part: str, method: str) -> BothMaps:
    usual, layer = usual_way(copy)
    assert copy.parent is not None
    return both_maps(
        copy.parent, copy, partition=partition, part=part, method=method, layer=layer if method == usual else ""
    )


def _images(tuned: Classifier) -> ImageSet:
    assert tuned.run is not None
    return tuned.run.image_set
