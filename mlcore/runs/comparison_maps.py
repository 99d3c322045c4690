"""Maps of phase 1, phase 2 and the control on the same images, so that they can be laid side by side."""

from typing import Any

from django.db import transaction

from mlcore.models import Classifier, Run
from mlcore.models.partitions import Part
from mlcore.runs.start import start_run


def compared(run: Run) -> list[Classifier]:
    """The classifiers of a phase-2 run in the order of the page: before, after, control; those that exist."""
    after = getattr(run, "made_classifier", None)
    control = getattr(run.control, "made_classifier", None) if run.control_id else None
    return [classifier for classifier in (run.classifier, after, control) if classifier is not None]


@transaction.atomic
def start_comparison_maps(
    run: Run, owner: Any, *, part: str = Part.VALIDATION.value, enqueue: bool = True
) -> list[Run]:
    """An explain run a classifier on a part that none of them learned from; images that have a map are passed over.

    Raises RunRefused with a sentence for each field that stands in the way; then nothing is started.
    """
    return [
        start_run(
            kind=Run.Kind.EXPLAIN,
            name=f"Maps of {classifier.name}"[:160],
            owner=owner,
            image_set=run.image_set,
            partition=run.partition,
            classifier=classifier,
            recipe={"part": part},
            seed=run.seed,
            enqueue=enqueue,
        )
        for classifier in compared(run)
    ]
