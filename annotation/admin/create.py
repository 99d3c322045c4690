"""Publish a study from maps: the first click opens this form filled in, the second one publishes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Count, QuerySet
from django.utils.datastructures import MultiValueDict

from annotation.errors import StudyRefused
from annotation.models import Study
from annotation.publishing import create_study, publish
from annotation.studies import KINDS, Kind
from harmony.inputs import Input, from_field, values
from harmony.researcher import owned
from mlcore.models import Explanation, ExplanationSet, Image, Partition
from mlcore.models.partitions import Part

ALL = "all"
MOST_MAPS = 4


@dataclass
class Choice:
    """Images that a study may be about: all that are explained, or those in one part of a partition."""

    value: str
    label: str
    n: int


@dataclass
class StudyForm:
    """Everything that the page shows and that `create_study` takes."""

    kind: Kind
    kinds: list[Kind]
    sets: list[ExplanationSet]
    others: list[ExplanationSet]
    choices: list[Choice]
    which: str
    most: str
    k: str
    typed_name: str
    name: str
    settings: list[Input]
    errors: dict[str, str]

    @property
    def n_images(self) -> int:
        found = next((choice.n for choice in self.choices if choice.value == self.which), 0)
        return min(found, int(self.most)) if self.most.isdigit() and int(self.most) else found


def build(user: Any, data: MultiValueDict, errors: Mapping[str, str] | None = None) -> StudyForm | None:
    """The form for these values; None where no set of maps that this person may see was chosen."""
    wanted = [int(pk) for pk in data.getlist("explanations") if pk.isdigit()][:MOST_MAPS]
    seen = owned(ExplanationSet.objects.select_related("classifier", "image_set"), user)
    found = seen.in_bulk(wanted)
    sets = [found[pk] for pk in dict.fromkeys(wanted) if pk in found]
    if not sets:
        return None
    image_set = sets[0].image_set
    sets = [row for row in sets if row.image_set_id == image_set.pk]
    kind = KINDS.get(str(data.get("kind") or ""), KINDS["reasonability"])
    choices = _choices(sets)
    which = str(data.get("which") or "")
    if which not in {choice.value for choice in choices}:
        pool = [choice.value for choice in choices if choice.value.endswith(f":{Part.POOL}") and choice.n]
        which = pool[0] if pool else ALL
    typed = str(data.get("name") or "").strip()
    return StudyForm(
        kind=kind,
        kinds=list(KINDS.values()),
        sets=sets,
        others=list(seen.filter(image_set=image_set).exclude(pk__in=[row.pk for row in sets])[:30]),
        choices=choices,
        which=which,
        most=str(data.get("most") or ""),
        k=str(data.get("k", "3")),
        typed_name=typed,
        name=typed or f"{kind.title}: {image_set}"[:160],
        settings=[from_field(field, data, errors or {}, prefix=f"{kind.name}-") for field in kind.fields],
        errors=dict(errors or {}),
    )


def images_of(form: StudyForm) -> Iterable[Image]:
    """The chosen images, in the order of their rows; fewer than all are drawn evenly over that order."""
    images = _explained(form.sets)
    if form.which != ALL:
        partition, part = form.which.split(":", 1)
        images = images.filter(memberships__partition=int(partition), memberships__part=part)
    images = images.order_by("pk")
    most = int(form.most) if form.most.isdigit() else 0
    if not most:
        return images
    found = list(images)
    if most >= len(found):
        return found
    # Rows come class by class, so the first ones alone would show one class only.
    return [found[place * len(found) // most] for place in range(most)]


@transaction.atomic
def create_and_publish(form: StudyForm, actor: Any, data: Mapping[str, Any], *, live: bool) -> Study:
    """The study as the form says; live at once unless it shall stay a draft. Raises StudyRefused."""
    k = form.k.strip()
    if k and (not k.isdigit() or int(k) < 1):
        raise StudyRefused("Answers for each image: a whole number from 1, or empty for everyone.")
    study = create_study(
        kind=form.kind.name,
        name=form.name,
        owner=actor,
        image_set=form.sets[0].image_set,
        images=images_of(form),
        explanation_sets=form.sets,
        answers_per_trial=int(k) if k else None,
        settings=values(form.kind.fields, data, prefix=f"{form.kind.name}-"),
    )
    if live:
        publish(study, actor)
    return study


def _explained(sets: list[ExplanationSet]) -> QuerySet[Image]:
    """Images that every chosen set has a map of."""
    images = Image.objects.filter(image_set=sets[0].image_set_id)
    for row in sets:
        images = images.filter(pk__in=Explanation.objects.filter(set=row).values("image"))
    return images


def _choices(sets: list[ExplanationSet]) -> list[Choice]:
    explained = _explained(sets)
    names = dict(Partition.objects.filter(image_set=sets[0].image_set_id).values_list("pk", "name"))
    counts = (
        explained.filter(memberships__partition__in=names)
        .values_list("memberships__partition", "memberships__part")
        .annotate(n=Count("pk"))
        .order_by("-memberships__partition", "memberships__part")
    )
    titles = dict(Part.choices)
    return [Choice(ALL, "All images that have maps", explained.count())] + [
        Choice(f"{partition}:{part}", f"{titles[part].capitalize()} of “{names[partition]}”", n)
        for partition, part, n in counts
    ]
