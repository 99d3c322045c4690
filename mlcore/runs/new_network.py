"""A correspondence network that was trained, by a run or a command: its file in the storage, and its row."""

import hashlib
import uuid
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.files.storage import default_storage

from mlcore.models import AuditEntry, Classifier, CorrespondenceNetwork, Run


class NewNetwork:
    """A trained network in the storage, and its row, which is written with the run's success."""

    def __init__(self, run: Run | None, weights: Path, told: dict[str, Any]) -> None:
        with weights.open("rb") as stream:
            self.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        self.uuid, self.run, self.told = uuid.uuid4(), run, told
        with weights.open("rb") as stream:
            self.stored = default_storage.save(f"correspondence/{self.uuid}.safetensors", File(stream))

    def register(self) -> Classifier:
        """Write the row and who made it; the classifier that it reads is what the run's scores are about. Call inside
        `held`. Raises Classifier.DoesNotExist where that was deleted."""
        assert self.run is not None, "without a run `write` is told whose network it is"
        classifier = Classifier.objects.get(pk=self.run.classifier_id)
        self.write(classifier, name=self.run.name, owner=self.run.owner)
        return classifier

    def write(self, classifier: Classifier, *, name: str, owner: Any) -> CorrespondenceNetwork:
        """The row, and who made it."""
        made = CorrespondenceNetwork.objects.create(
            uuid=self.uuid,
            name=name,
            owner=owner,
            classifier=classifier,
            layer=str(self.told["layer"]),
            settings=dict(self.told.get("settings") or {}),
            weights=self.stored,
            sha256=self.sha256,
            run=self.run,
        )
        after = {"classifier": str(classifier.uuid), "layer": made.layer, "sha256": self.sha256}
        AuditEntry.write(owner, "network.make", made, after=after)
        return made

    def discard(self) -> None:
        """Remove the file of a row that was not written."""
        default_storage.delete(self.stored)
