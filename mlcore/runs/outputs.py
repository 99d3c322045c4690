"""What a run leaves behind: a classifier or what was trained beside one, maps, predictions, scores. Every write holds
the run's row."""

import hashlib
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.files.storage import default_storage

from mlcore.catalogue.several import several
from mlcore.catalogue.tuning import learns
from mlcore.models import (
    AttentionModule,
    AuditEntry,
    Classifier,
    Explanation,
    ExplanationSet,
    Image,
    Prediction,
    Run,
    Score,
)
from mlcore.models.partitions import Part
from mlcore.runs.job_classifier import classes_of
from mlcore.runs.new_network import NewNetwork
from mlcore.runs.objects import CHUNK
from mlcore.runs.start import LABELS, TRANSFORM
from mlcore.runs.state import Claim, held

STATUSES = set(Explanation.Status.values)


def store_shard(claim: Claim, run: Run, workdir: Path, event: dict[str, Any]) -> int:
    """Copy a shard of maps into the storage and write its rows, all or none. The number of new rows."""
    # A report names the set: it has one for each of its classifiers.
    found = run.explanation_sets.get(**({"uuid": event["set"]} if "set" in event else {"method": event["method"]}))
    folder = f"explanations/{found.uuid}"
    with (workdir / event["path"]).open("rb") as stream:
        # The attempt's name in the file's: two runs that fill one set never share a shard.
        shard = default_storage.save(f"{folder}/{claim.token.hex[:8]}-{Path(event['path']).name}", File(stream))
    try:
        with held(claim):
            images = _pks(row["image"] for row in event["rows"])
            before = found.explanations.count()
            Explanation.objects.bulk_create(
                [
                    Explanation(
                        set=found,
                        image_id=images[row["image"]],
                        shard=shard,
                        index=row["index"],
                        height=row["height"],
                        width=row["width"],
                        maximum=row["maximum"],
                        target=row["target"],
                        status=row["status"] if row["status"] in STATUSES else Explanation.Status.NONFINITE,
                    )
                    for row in event["rows"]
                    if row["image"] in images
                ],
                ignore_conflicts=True,  # another run was faster: its map is the same map
                batch_size=CHUNK,
            )
            added = found.explanations.count() - before
    except BaseException:
        default_storage.delete(shard)
        raise
    if not added:
        default_storage.delete(shard)
    return added


def write_predictions(classifier: Classifier, rows: list[dict[str, Any]]) -> None:
    """The newest replaces. Call inside `held`."""
    images = _pks(row["image"] for row in rows)
    Prediction.objects.bulk_create(
        [
            Prediction(
                classifier=classifier,
                image_id=images[row["image"]],
                label=row["label"],
                confidence=row["confidence"],
            )
            for row in rows
            # A classifier whose outputs are not numbers has no confidence, and says nothing.
            if row["image"] in images and row["confidence"] is not None
        ],
        update_conflicts=True,
        unique_fields=["classifier", "image"],
        update_fields=["label", "confidence"],
        batch_size=200,
    )


def write_scores(
    run: Run, classifier: Classifier, part: str, rows: list[dict[str, Any]], judged: ExplanationSet | None = None
) -> None:
    """One row a metric (and set of maps, where one was judged); a resumed run replaces its own. Call inside `held`."""
    for row in rows:
        Score.objects.update_or_create(
            run=run,
            classifier=classifier,
            explanation_set=judged,
            part=part,
            metric=row["metric"],
            defaults={
                "partition": run.partition,
                "value": row["value"],
                "low": row.get("low"),
                "high": row.get("high"),
                "n": row["n"],
                "left_out": row.get("left_out") or {},
                "per_image": row.get("per_image") or {},
            },
        )


def write_scores_of_maps(run: Run, explanation_set: str, part: str, rows: list[dict[str, Any]]) -> None:
    """What a score run says of one of its sets. Call inside `held`."""
    judged = run.explanation_sets.select_related("classifier").filter(uuid=explanation_set).first()
    if judged is not None:  # otherwise the set was deleted while it was judged
        write_scores(run, judged.classifier, part, rows, judged)


class NewClassifier:
    """The trained weights in the storage, and the row that is written with the run's success."""

    def __init__(self, run: Run, weights: Path) -> None:
        with weights.open("rb") as stream:
            self.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        self.uuid = uuid.uuid4()
        self.run = run
        with weights.open("rb") as stream:
            self.stored = default_storage.save(f"classifiers/{self.uuid}.safetensors", File(stream))

    def register(self) -> Classifier:
        """Write the row. Call inside `held`."""
        run, parent = self.run, self.run.classifier
        return Classifier.objects.create(
            uuid=self.uuid,
            name=run.name,
            owner=run.owner,
            architecture=parent.architecture if parent is not None else run.recipe["architecture"],
            classes=classes_of(run),
            weights=self.stored,
            sha256=self.sha256,
            padding=parent.padding if parent is not None else Classifier.Padding.TORCH,
            transform={key: run.recipe[key] for key in TRANSFORM} | _taught(run),
            parent=parent,
            run=run,
        )

    def discard(self) -> None:
        """Remove the file of a row that was not written."""
        default_storage.delete(self.stored)


class NewAttention:
    """A trained attention module in the storage, and the row that is written with the run's success."""

    def __init__(self, run: Run, weights: Path, told: dict[str, Any]) -> None:
        with weights.open("rb") as stream:
            self.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        self.uuid, self.run, self.told = uuid.uuid4(), run, told
        with weights.open("rb") as stream:
            self.stored = default_storage.save(f"attention/{self.uuid}.safetensors", File(stream))

    def register(self) -> Classifier:
        """Write the row and who made it; the classifier that it explains is what the run's scores are about. Call
        inside `held`. Raises Classifier.DoesNotExist where that was deleted."""
        run = self.run
        classifier = Classifier.objects.get(pk=run.classifier_id)
        made = AttentionModule.objects.create(
            uuid=self.uuid,
            name=run.name,
            owner=run.owner,
            classifier=classifier,
            kind=str(self.told["kind"]),
            variant=str(self.told.get("variant") or "default")[:40],
            layers=list(self.told.get("layers") or ()),
            weights=self.stored,
            sha256=self.sha256,
            run=run,
        )
        after = {"classifier": str(classifier.uuid), "kind": made.kind, "sha256": self.sha256}
        AuditEntry.write(run.owner, "attention.make", made, after=after)
        return classifier

    def discard(self) -> None:
        """Remove the file of a row that was not written."""
        default_storage.delete(self.stored)


def made_by(run: Run, workdir: Path, ending: dict[str, Any]) -> NewClassifier | NewAttention | NewNetwork | None:
    """What a run's last word says that it has made; None for one that makes nothing of its own."""
    if not ending.get("weights"):
        return None
    weights = workdir / ending["weights"]
    if ending.get("network"):
        return NewNetwork(run, weights, ending["network"])
    return NewAttention(run, weights, ending["attention"]) if ending.get("attention") else NewClassifier(run, weights)


def _taught(run: Run) -> dict[str, str]:
    """Whether the classifier knows several labels an image: as it learned, or as the one that it is a tuned copy of."""
    parent = run.classifier.transform if run.classifier is not None else None
    taught = run.recipe if learns(run.recipe) else parent or {}
    return {LABELS: "several"} if several(taught) else {}


def known_part(name: str) -> bool:
    """Whether rows may carry this part."""
    return name in Part.values


def _pks(uuids: Iterable[str]) -> dict[str, int]:
    wanted = list(uuids)
    found: dict[str, int] = {}
    for start in range(0, len(wanted), CHUNK):
        rows = Image.objects.filter(uuid__in=wanted[start : start + CHUNK]).values_list("uuid", "pk")
        found.update((str(name), pk) for name, pk in rows)
    return found
