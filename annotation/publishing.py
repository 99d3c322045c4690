"""A study is made, published and closed. Each change writes its audit row in the same transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from annotation.errors import StudyRefused
from annotation.models import Study, StudyVersion, Trial
from annotation.studies import Kind, kind_named, kind_of
from mlcore.models import AuditEntry, ExplanationSet, Image, ImageSet

__all__ = ["StudyRefused", "close", "create_study", "publish"]

MOST_SEED = 2_147_483_647


@transaction.atomic
def create_study(
    *,
    kind: str,
    name: str,
    owner: Any,
    image_set: ImageSet | None = None,
    images: "models.QuerySet[Image] | Iterable[Image] | None" = None,
    explanation_sets: Sequence[ExplanationSet] = (),
    answers_per_trial: int | None = 1,
    settings: Mapping[str, Any] | None = None,
    title: str = "",
    task: str = "",
    seed: int = 0,
) -> Study:
    """A draft with its first version, its trials and their stimuli.

    `images` unset: every image that all explanation sets explain; without any set, the whole image set.
    `answers_per_trial` is k; None gives every trial to everyone. The trials' order follows from `seed`.
    Raises StudyRefused with one sentence.
    """
    study_kind = kind_named(kind)
    cleaned = study_kind.clean_settings(settings)
    sets = list(explanation_sets)
    _check_words(name, title, task, answers_per_trial, seed)
    _check_sets(study_kind, sets, cleaned)
    image_set = _image_set(image_set, sets)
    study = Study.objects.create(
        name=name.strip(),
        kind=kind,
        owner=owner if getattr(owner, "pk", None) else None,
        image_set=image_set,
        seed=seed,
        answers_per_trial=answers_per_trial,
    )
    built = study_kind.build_trials(
        study, images=_images(image_set, images, sets), explanation_sets=sets, settings=cleaned
    )
    if not built.trials:
        raise StudyRefused(_nothing_to_show(built.left_out, sets))
    StudyVersion.objects.create(
        study=study,
        number=1,
        title=title.strip() or study.name,
        task=task.strip() or str(study_kind.task),
        settings=cleaned
        | {
            "trials": built.trials,
            "left_out": dict(built.left_out),
            "explanation_sets": [str(item.uuid) for item in sets],
        },
    )
    AuditEntry.write(owner, "study.create", study, after={"kind": kind, "trials": built.trials, "k": answers_per_trial})
    return study


@transaction.atomic
def publish(study: Study, actor: Any) -> Study:
    """draft → live. Raises StudyRefused saying what is in the way."""
    row = Study.objects.select_for_update().get(pk=study.pk)
    if row.state == Study.State.LIVE:
        raise StudyRefused(f"“{row}” is already published.")
    if row.state == Study.State.CLOSED:
        raise StudyRefused(f"“{row}” is closed. Make a new study to ask again.")
    kind_of(row)
    if not row.versions.exists():
        raise StudyRefused(f"“{row}” has no texts yet.")
    if not Trial.objects.filter(study=row).exists():
        raise StudyRefused(f"“{row}” has nothing to show: it holds no trials.")
    return _move(study, row, actor, "study.publish", Study.State.LIVE, "published")


@transaction.atomic
def close(study: Study, actor: Any) -> Study:
    """live → closed: no further answer, no further change. Raises StudyRefused saying what is in the way."""
    row = Study.objects.select_for_update().get(pk=study.pk)
    if row.state == Study.State.CLOSED:
        raise StudyRefused(f"“{row}” is already closed.")
    if row.state == Study.State.DRAFT:
        raise StudyRefused(f"“{row}” was never published, so there is nothing to close.")
    return _move(study, row, actor, "study.close", Study.State.CLOSED, "closed")


def _move(study: Study, row: Study, actor: Any, action: str, state: str, moment: str) -> Study:
    before = {"state": row.state}
    row.state = state
    setattr(row, moment, timezone.now())
    row.save(update_fields=["state", moment])
    AuditEntry.write(actor, action, row, before=before, after={"state": state})
    study.state, study.published, study.closed = row.state, row.published, row.closed
    return row


def _check_words(name: str, title: str, task: str, k: int | None, seed: int) -> None:
    if not name.strip():
        raise StudyRefused("Give the study a name.")
    for label, text, most in (("name", name, 160), ("title", title, 160), ("task", task, 300)):
        if len(text.strip()) > most:
            raise StudyRefused(f"The {label} is longer than {most} characters.")
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= 10_000):
        raise StudyRefused("Answers per trial: a whole number from 1 to 10000, or nothing for everyone.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MOST_SEED:
        raise StudyRefused(f"The seed is a whole number from 0 to {MOST_SEED}.")


def _check_sets(kind: Kind, sets: Sequence[ExplanationSet], settings: Mapping[str, Any]) -> None:
    if len(sets) < kind.maps_at_least:
        raise StudyRefused("Choose at least one set of maps: without maps there is nothing to rate.")
    if len(sets) > kind.maps_at_most:
        raise StudyRefused(f"At most {kind.maps_at_most} sets of maps fit on one screen; {len(sets)} were chosen.")
    if len({item.pk for item in sets}) < len(sets):
        raise StudyRefused("The same set of maps was chosen twice.")
    if settings.get("shown_class") == "predicted" and not sets:
        raise StudyRefused("To show what a model says, choose the set of maps of that model.")


def _image_set(image_set: ImageSet | None, sets: Sequence[ExplanationSet]) -> ImageSet:
    owners = {item.image_set_id: item.image_set for item in sets}
    if image_set is not None:
        owners[image_set.pk] = image_set
    if not owners:
        raise StudyRefused("Choose an image set, or a set of maps.")
    if len(owners) > 1:
        names = ", ".join(sorted(f"“{item}”" for item in owners.values()))
        raise StudyRefused(f"A study shows images of one set; these belong to {names}.")
    return next(iter(owners.values()))


def _images(
    image_set: ImageSet, images: "models.QuerySet[Image] | Iterable[Image] | None", sets: Sequence[ExplanationSet]
) -> Iterable[Image]:
    if images is None:
        chosen = Image.objects.filter(image_set=image_set).order_by("pk")
        for item in sets:
            chosen = chosen.filter(explanations__set=item)
        return chosen.iterator(chunk_size=1000)
    if isinstance(images, models.QuerySet):
        images = images.order_by("pk").distinct()
    listed = list(dict.fromkeys(images))
    for image in listed:
        if image.image_set_id != image_set.pk:
            raise StudyRefused(f"Image {image.name} does not belong to “{image_set}”.")
    return listed


def _nothing_to_show(left_out: Mapping[str, int], sets: Sequence[ExplanationSet]) -> str:
    if left_out:
        reasons = "; ".join(f"{number} have {reason}" for reason, number in left_out.items())
        return f"No image is left to show: {reasons}."
    if sets:
        return "No image has a map in every chosen set. Explain the images first."
    return "No image was chosen."
