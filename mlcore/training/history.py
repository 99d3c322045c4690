"""Small pieces of a run's state."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mlcore.training.job import Job

# Options of where and how often, not of what: a resumed run may change them.
MACHINE_KEYS = frozenset(
    {"device", "data_workers", "cache_images", "checkpoint_minutes", "evaluate_test", "architecture"}
    | {"processes", "nodes", "rendezvous", "compile", "fit_batch_size"}
)


class Tally:
    """Sums over the steps of one epoch."""

    def __init__(self) -> None:
        self.loss, self.hits, self.images, self.steps = 0.0, 0.0, 0.0, 0

    def add(self, loss: float, hits: float, images: float) -> None:
        """One step's mean loss, right predictions and images."""
        self.loss, self.hits = self.loss + loss, self.hits + hits
        self.images, self.steps = self.images + images, self.steps + 1

    @property
    def accuracy(self) -> float:
        """Share of right predictions, each made in train mode before its own step."""
        return self.hits / self.images if self.images else 0.0

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        vars(self).update(state)


def fingerprint(job: Job) -> str:
    """A hash of all that decides a run's weights, so that a checkpoint is only taken up by its own run."""
    recipe = {key: value for key, value in job.recipe.items() if key not in MACHINE_KEYS}
    classifier = job.classifier
    told = {
        "recipe": recipe,
        "seed": job.seed,
        "classifier": [classifier.architecture, classifier.num_classes, classifier.padding],
        "parts": {
            # Where images have one label each, as it always was: checkpoints of older runs are taken up.
            name: [
                [item.id, list(item.labels) or item.label, item.w_p, item.w_a, item.map is not None] for item in items
            ]
            for name, items in sorted(job.parts.items())
            if name != "test"
        },
    }
    if job.shards:
        told["shards"] = [[Path(shard["tar"]).name, shard["sha256"]] for shard in job.shards]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
