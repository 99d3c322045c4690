"""A study as one file that travels: what a bundle holds, and how it is written.

A zip of `fixture.json` (rows by natural keys, none by its number), `media/` (pictures byte for byte, maps) and
`MANIFEST.json` (format, size and SHA-256 of every file, counts). docs/pairs.md describes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from django.core import serializers
from django.db.models import Model, Q, QuerySet

from annotation.errors import StudyRefused
from annotation.models import Arm, ListEntry, Stimulus, Study, StudyPicture, StudyVersion, Trial, TrialList
from annotation.models.studies import Phase, picture_name
from annotation.pair_studies import pair_sets_of
from mlcore.exchange import storage
from mlcore.exchange.shards import MapUnavailable, load_map
from mlcore.models import AttributionPair, Classifier, Explanation, ExplanationSet, Image, ImageLabel, ImageSet, PairSet

FORMAT = "harmony.bundle/1"
FIXTURE, MANIFEST, MEDIA = "fixture.json", "MANIFEST.json", "media/"
# In this order every row comes after those that it names, but for a study's current version.
MODELS: tuple[type[Model], ...] = (
    ImageSet, Image, ImageLabel, Classifier, ExplanationSet, Explanation, PairSet, AttributionPair,
    Study, StudyVersion, StudyPicture, Arm, Trial, Stimulus, TrialList, ListEntry,
)  # fmt: skip
# Maps of one shard: a web process holds a shard of this size whole, and larger ones it does not.
SHARD_BYTES = 16 * 1024 * 1024
_PLAIN_DATE = (1980, 1, 1, 0, 0, 0)


def write_bundle(studies: Sequence[Study], target: Path | IO[bytes]) -> dict[str, Any]:
    """Write these studies of one image set; the manifest is returned.

    People and answers stay here, and owners, weights and the links that let people in; a closed study travels as a
    draft. Raises StudyRefused with a sentence where something of a study cannot be packed; OSError.
    """
    if not studies:
        raise StudyRefused("Choose the study that is packed.")
    files: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(target, "w") as archive:

        def add(name: str, data: bytes, pack: bool = False) -> None:
            entry = zipfile.ZipInfo(name, _PLAIN_DATE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED if pack else zipfile.ZIP_STORED)
            files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

        rows = _Rows(studies)
        for name in rows.stored_files():
            try:
                add(MEDIA + name, storage.read(name))
            except FileNotFoundError as error:
                raise StudyRefused(f"The file {name} of “{studies[0]}” is missing, so it cannot be packed.") from error
        places: dict[str, tuple[str, int]] = {}
        for name, data, held in rows.shards():
            add(MEDIA + name, data)
            places |= held
        fixture = list(rows.fixture(places))
        add(FIXTURE, _json(fixture).encode(), pack=True)
        counts = Counter(row["model"] for row in fixture)
        manifest = {
            "format": FORMAT,
            "studies": [{"uuid": str(study.uuid), "name": study.name} for study in studies],
            "counts": {model._meta.label_lower: counts[model._meta.label_lower] for model in MODELS},
            "files": files,
        }
        entry = zipfile.ZipInfo(MANIFEST, _PLAIN_DATE)
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, _json(manifest), zipfile.ZIP_DEFLATED)
    return manifest


class _Rows:
    """The rows that some studies need."""

    def __init__(self, studies: Sequence[Study]) -> None:
        self.studies = list(studies)
        if len({study.image_set_id for study in studies}) > 1:
            raise StudyRefused("Studies of different image sets are packed one by one.")
        self.pair_sets = list({row.pk: row for study in studies for row in pair_sets_of(study)}.values())
        ofthese = Q(study__in=self.studies)
        self.trials = Trial.objects.filter(ofthese)
        pairs = AttributionPair.objects.filter(set__in=self.pair_sets)
        stimuli = Stimulus.objects.filter(trial__study__in=self.studies, explanation__isnull=False)
        self.explanations = Explanation.objects.filter(
            Q(pk__in=stimuli.values("explanation"))
            | Q(pk__in=pairs.values("original"))
            | Q(pk__in=pairs.values("tuned"))
        ).select_related("set", "image")
        self.images = Image.objects.filter(
            Q(pk__in=self.trials.values("image")) | Q(pk__in=self.explanations.values("image"))
        )
        bare = self.images.filter(file="").first()
        if bare is not None:
            raise StudyRefused(f"The image {bare.name} was imported without its picture, so it cannot be packed.")
        other = self.explanations.exclude(payload=Explanation.Payload.MAP).first()
        if other is not None:
            raise StudyRefused(f"“{other.set}” shows {other.get_payload_display()}; a bundle holds maps only.")
        sets = ExplanationSet.objects.filter(
            Q(pk__in=self.explanations.values("set")) | Q(uuid__in=_named_sets(self.studies))
        )
        classifiers = Classifier.objects.filter(pk__in=sets.values("classifier"))
        self.of: dict[type[Model], QuerySet] = {
            ImageSet: ImageSet.objects.filter(pk=self.studies[0].image_set_id),
            Image: self.images.select_related("image_set"),
            ImageLabel: ImageLabel.objects.filter(image__in=self.images.values("pk")).select_related("image"),
            # A parent comes before those that were tuned from it.
            Classifier: classifiers.select_related("parent"),
            ExplanationSet: sets.select_related("classifier", "image_set"),
            Explanation: self.explanations,
            PairSet: PairSet.objects.filter(pk__in=[row.pk for row in self.pair_sets]).select_related(
                "image_set", "original", "tuned"
            ),
            AttributionPair: pairs.select_related("set", "image", "original", "tuned").order_by("set", "position"),
            Study: Study.objects.filter(pk__in=[row.pk for row in self.studies]).select_related("image_set", "current"),
            StudyVersion: StudyVersion.objects.filter(ofthese).select_related("study"),
            StudyPicture: StudyPicture.objects.filter(ofthese).select_related("study"),
            Arm: Arm.objects.filter(ofthese).select_related("study"),
            Trial: self.trials.select_related("study", "image", "arm__study"),
            Stimulus: Stimulus.objects.filter(trial__study__in=self.studies).select_related("trial", "explanation"),
            TrialList: TrialList.objects.filter(ofthese).select_related("study"),
            ListEntry: ListEntry.objects.filter(trial_list__study__in=self.studies).select_related(
                "trial_list__study", "trial"
            ),
        }
        self.classifiers = {str(uuid) for uuid in classifiers.values_list("uuid", flat=True)}

    def stored_files(self) -> Iterator[str]:
        """Names in the storage of the files that are packed as they are."""
        yield from self.images.order_by("pk").values_list("file", flat=True)
        yield from dict.fromkeys(self.of[StudyPicture].order_by("pk").values_list("file", flat=True))

    def shards(self) -> Iterator[tuple[str, bytes, dict[str, tuple[str, int]]]]:
        """(name, bytes, explanation's UUID → (name, index)): the maps of each set, and none besides.

        One shard a set, more only where maps differ in size or are too many to be held at once.
        """
        for one in self.of[ExplanationSet].order_by("pk"):
            by_size: dict[tuple[int, int], list[Explanation]] = {}
            for row in self.explanations.filter(set=one).order_by("pk"):
                by_size.setdefault((row.height, row.width), []).append(row)
            for (height, width), rows in by_size.items():
                most = max(1, SHARD_BYTES // (4 * height * width))
                for start in range(0, len(rows), most):
                    yield _shard(one, rows[start : start + most])

    def fixture(self, places: dict[str, tuple[str, int]]) -> Iterator[dict[str, Any]]:
        """Every row as a fixture has it, without what stays here."""
        k = {str(study.uuid): study.answers_per_trial for study in self.studies}
        for model in MODELS:
            rows: Iterable[Model] = self.of[model].order_by("pk").iterator(chunk_size=500)
            for row in serializers.serialize(
                "python", rows, use_natural_foreign_keys=True, use_natural_primary_keys=True
            ):
                fields = row["fields"]
                if "owner" in fields:
                    fields["owner"] = None
                if model is Classifier:
                    known = fields["parent"] is not None and fields["parent"][0] in self.classifiers
                    fields |= {"weights": "", "run": None, "parent": fields["parent"] if known else None}
                elif model is Explanation:
                    fields["shard"], fields["index"] = places[str(fields["uuid"])]
                elif model is Study:
                    # Whoever has the bundle shall not be let into the study that it was made from.
                    fields["join_key"] = picture_name()
                    if fields["state"] == Study.State.CLOSED:
                        fields |= {"state": Study.State.DRAFT, "published": None, "closed": None}
                elif model is Trial:
                    main = fields["phase"] == Phase.MAIN
                    fields["claims_left"] = k[fields["study"][0]] if main else None
                yield row


def _named_sets(studies: Iterable[Study]) -> list[str]:
    return [name for study in studies for group in study.version.settings.get("groups", []) for name in group["sets"]]


def _shard(one: ExplanationSet, rows: list[Explanation]) -> tuple[str, bytes, dict[str, tuple[str, int]]]:
    try:
        maps = np.stack([load_map(row) for row in rows])
    except MapUnavailable as error:
        raise StudyRefused(f"“{one}” cannot be packed. {error}") from error
    stream = io.BytesIO()
    np.savez_compressed(stream, maps=maps)
    data = stream.getvalue()
    name = f"explanations/{one.uuid}/{hashlib.sha256(data).hexdigest()[:32]}.npz"
    return name, data, {str(row.uuid): (name, index) for index, row in enumerate(rows)}


def _json(value: Any) -> str:
    return json.dumps(value, default=_plain, ensure_ascii=False, indent=1)


def _plain(value: Any) -> str:
    # Django's own encoder cuts times to milliseconds.
    return value.isoformat() if isinstance(value, datetime) else str(value)
