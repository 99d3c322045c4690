"""The released harmony_app's pictures, where somebody has them: images as they are, maps read from white → red."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.exchange.harmony_app import Example
from annotation.exchange.harmony_app_names import method_of, metric_of, model_of
from annotation.models import Study
from mlcore.exchange import storage
from mlcore.exchange.report import ImportRefused
from mlcore.exchange.verify import BadImage, open_picture, verify
from mlcore.models import Classifier, Explanation, ExplanationSet, Image
from mlcore.models.images import image_path

FIELDS = {"original": "original", "tuned": "learn"}
CODE_VERSION = "imported"


class Pictures:
    """Reads from one folder and writes for one study. A file that is missing or bad is refused by its name."""

    def __init__(self, study: Study, owner: Any, media: Path) -> None:
        if not media.is_dir():
            raise ImportRefused(f"There is no folder of pictures “{media}”.")
        self.study, self.owner, self.media = study, owner, media.resolve()
        self.by_hash: dict[str, Image] = {}
        self.sets: dict[tuple[tuple[str, ...], str], ExplanationSet] = {}

    def image(self, name: str) -> Image:
        """The image at this path, not saved yet unless the same picture came under another name before."""
        try:
            found = verify(self._path(name))
        except BadImage as error:
            raise ImportRefused(f"{name}: {error}") from error
        known = self.by_hash.get(found.sha256)
        if known is None:
            known = Image.objects.filter(image_set=self.study.image_set, sha256=found.sha256).first()
        if known is not None:
            raise ImportRefused(f"{name} shows the same picture as {known.name}; an image is kept once a study.")
        row = Image(
            image_set=self.study.image_set, name=name, sha256=found.sha256, width=found.width, height=found.height
        )
        row.file = storage.put(image_path(row, f"{found.sha256}.{found.suffix}"), found.data)
        self.by_hash[found.sha256] = row
        return row

    def maps(self, batch: Sequence[Example], images: Mapping[str, Image]) -> dict[tuple[int, str], Explanation]:
        """(example's number, condition) → its map, saved."""
        waiting: dict[tuple[uuid.UUID, tuple[int, ...]], list[tuple[Example, str, NDArray[np.float32]]]] = defaultdict(
            list
        )
        sets: dict[uuid.UUID, ExplanationSet] = {}
        for example in batch:
            for condition, field in FIELDS.items():
                values = self._map(getattr(example, field))
                found = self._set(example, condition)
                sets[found.uuid] = found
                waiting[found.uuid, values.shape].append((example, condition, values))
        made: dict[tuple[int, str], Explanation] = {}
        for (key, (height, width)), rows in waiting.items():
            shard = self._shard(key, [values for *_, values in rows])
            for index, (example, condition, values) in enumerate(rows):
                made[example.number, condition] = Explanation(
                    uuid=uuid.uuid5(key, example.image), set=sets[key], image=images[example.image], shard=shard,
                    index=index, height=height, width=width, maximum=float(values.max()),
                    target=self.study.image_set.classes.index(example.prediction),
                    status=Explanation.Status.OK if np.ptp(values) else Explanation.Status.CONSTANT,
                )  # fmt: skip
        Explanation.objects.bulk_create(made.values())
        return made

    def _path(self, name: str) -> Path:
        path = (self.media / name).resolve()
        if not path.is_relative_to(self.media):
            raise ImportRefused(f"{name} lies outside the folder of pictures.")
        if not path.is_file():
            raise ImportRefused(
                f"{name} is not in the folder of pictures. Leave the folder out to import labels alone."
            )
        return path

    def _map(self, name: str) -> NDArray[np.float32]:
        """White is 0, pure red is 1: what is missing of green."""
        try:
            picture = open_picture(self._path(name).read_bytes()).convert("RGB")
        except BadImage as error:
            raise ImportRefused(f"{name}: {error}") from error
        green = np.asarray(picture, dtype=np.float32)[..., 1]
        return np.asarray(1 - green / 255, dtype=np.float32)

    def _shard(self, key: uuid.UUID, maps: list[NDArray[np.float32]]) -> str:
        stream = io.BytesIO()
        np.savez_compressed(stream, maps=np.stack(maps))
        data = stream.getvalue()
        return storage.put(f"explanations/{key}/import-{hashlib.sha256(data).hexdigest()[:16]}.npz", data)

    def _set(self, example: Example, condition: str) -> ExplanationSet:
        known = self.sets.get((example.cell, condition))
        if known is not None:
            return known
        key = uuid.uuid5(self.study.uuid, "/".join((*example.cell, condition)))
        found, _ = ExplanationSet.objects.get_or_create(
            uuid=key,
            defaults={
                "classifier": self._classifier(example, condition),
                "image_set": self.study.image_set,
                "owner": self.owner,
                "method": method_of(example.relevancy_method),
                "target": ExplanationSet.Target.TRUE,
                "code_version": CODE_VERSION,
                "hash": hashlib.sha256(str(key).encode()).hexdigest(),
            },
        )
        self.sets[example.cell, condition] = found
        return found

    def _classifier(self, example: Example, condition: str) -> Classifier:
        """A row without weights: the original, or the copy that was tuned for this metric through this method."""
        told = (example.dataset, example.cnn_model) if condition == "original" else example.cell
        name = example.cnn_model
        if condition == "tuned":
            name += f" tuned for {metric_of(example.experiment)}, {method_of(example.relevancy_method)}"
        found, _ = Classifier.objects.get_or_create(
            uuid=uuid.uuid5(self.study.uuid, "classifier/" + "/".join(told)),
            defaults={
                "name": f"{name} ({example.dataset})"[:160],
                "owner": self.owner,
                "architecture": model_of(example.cnn_model),
                "classes": self.study.image_set.classes,
            },
        )
        return found
