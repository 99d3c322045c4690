"""Published decisions as a closed team study with answers: the same rows again add nothing.

Every row's UUID follows from the study's name and from what the file says, so a second import finds what is there.
People become pseudonyms; what the file calls them is not kept. Methods that are compared are AIs with labels of their
own, so a trial is of one condition; whether the AI was right follows from its label and the image's, and stands in the
trial's right answer where the file tells it without them.
"""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.utils import timezone

from annotation.exchange.decisions_columns import Reading
from annotation.exchange.decisions_pictures import Pictures
from annotation.exchange.decisions_rows import Decisions, Said, Shown
from annotation.models import (
    Answer,
    AnswerRevision,
    Arm,
    Assignment,
    Judgement,
    Participant,
    Study,
    StudyVersion,
    Trial,
)
from annotation.models.studies import RANDOM_KEY_BITS, Phase
from annotation.plan import default_plan
from annotation.studies import kind_named
from annotation.studies.team import ACCEPT, CONFIDENCE
from mlcore.exchange.report import ImportRefused, Progress
from mlcore.models import AuditEntry, Image, ImageLabel, ImageSet
from mlcore.models.images import LABEL_SOURCE

BATCH = 500
MOST_STUDY_NAME = 120
ROOT = uuid.uuid5(uuid.NAMESPACE_URL, "harmony/imported-decisions")
T = TypeVar("T")


@dataclass
class Imported:
    """What came in, and what did not. `study` is there in any case."""

    study: Study
    images: int = 0
    trials: int = 0
    people: int = 0
    answers: int = 0
    already: int = 0
    otherwise: int = 0  # of those already there, how many the file now tells otherwise
    repeated: int = 0
    contradicting: int = 0
    not_counting: int = 0
    left_out: int = 0
    pictures: int = 0

    def sentence(self) -> str:
        """The counts in words."""
        said = [f"{self.answers:,} answers of {self.people:,} people to {self.trials:,} trials added"]
        if self.already:
            other = f" ({self.otherwise:,} said something else; what is there stays)" if self.otherwise else ""
            said.append(f"{self.already:,} answers already there{other}")
        if self.repeated:
            said.append(
                f"{self.repeated:,} repeated answers left out, the first of each counts "
                f"({self.contradicting:,} said something else)"
            )
        if self.not_counting:
            said.append(f"{self.not_counting:,} that their source does not count left out")
        if self.left_out:
            said.append(f"{self.left_out:,} rows with problems left out")
        if self.pictures:
            said.append(f"{self.pictures:,} of {self.images:,} images with a picture")
        return f"{self.study}: {'; '.join(said)}."


def import_decisions(
    found: Decisions,
    reading: Reading,
    *,
    name: str,
    owner: Any,
    file: str,
    pictures: ImageSet | None = None,
    leave_out: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """A closed team study of all decisions, a condition for each method.

    file: what the table is called, which the study keeps. pictures: an image set that has some of the images.
    leave_out: import the other rows where some have problems. Raises ImportRefused, and then nothing is written.
    """
    if found.problems and not leave_out:
        rows = "1 row has a problem" if found.bad_rows == 1 else f"{found.bad_rows:,} rows have a problem"
        raise ImportRefused(f"{file}: {rows}, so nothing was imported. The first: {found.problems[0]}", found.problems)
    if not found.said:
        raise ImportRefused(f"{file}: no row can be used.", found.problems)
    try:
        with transaction.atomic():
            return _Import(found, reading, name, owner, file).perform(pictures, progress)
    except IntegrityError as error:
        raise ImportRefused(
            f"“{name}” is being imported by somebody else just now. Look for it in a minute."
        ) from error


class _Import:
    """One import, inside one transaction."""

    def __init__(self, found: Decisions, reading: Reading, name: str, owner: Any, file: str) -> None:
        self.found, self.reading, self.owner, self.file = found, reading, owner, file
        self.truths = {one.shown.image: one.truth for one in found.said if one.truth}
        self.conditions = [condition for condition in found.conditions if condition]
        self.by_person: dict[str, set[str]] = defaultdict(set)
        for one in found.said:
            self.by_person[one.person].add(one.shown.condition)
        self.study = self._study(name.strip())
        self.report = Imported(self.study, repeated=found.repeated, contradicting=found.contradicting,
                               not_counting=found.not_counting, left_out=found.bad_rows)  # fmt: skip

    def perform(self, pictures: ImageSet | None, progress: Progress | None) -> Imported:
        images = self._images(pictures)
        arms = {arm.name: arm for arm in self.study.arms.all()}
        trials = self._trials(images, arms)
        people = self._people(arms)
        self._answers(trials, people, progress)
        if self.report.answers:
            counts = {
                name: getattr(self.report, name) for name in ("images", "trials", "people", "answers", "left_out")
            }
            AuditEntry.write(self.owner, "study.import_decisions", self.study, after=counts | {"file": self.file})
        return self.report

    # --- the study ------------------------------------------------------------------------------------------------

    def _study(self, name: str) -> Study:
        if not 0 < len(name) <= MOST_STUDY_NAME:
            raise ImportRefused(f"Give the study a name of at most {MOST_STUDY_NAME} characters.")
        key = uuid.uuid5(ROOT, name)
        found = Study.objects.select_for_update().filter(uuid=key).first()
        if found is not None:
            self._check_same(found)
            return found
        if Study.objects.filter(name=name).exists() or ImageSet.objects.filter(name=name).exists():
            raise ImportRefused(f"There is a study or an image set “{name}” already. Choose another name.")
        named = {one.shown.label for one in self.found.said} | set(self.truths.values())
        image_set = ImageSet.objects.create(
            uuid=uuid.uuid5(key, "images"), name=name, owner=self.owner, classes=sorted(named - {""}),
            description=f"Of the decisions imported from {self.file}.",
        )  # fmt: skip
        now = timezone.now()
        study = Study.objects.create(
            uuid=key, name=name, kind="team", owner=self.owner, image_set=image_set, state=Study.State.CLOSED,
            mode=Study.Mode.EVERYONE, conditions=self._way(), published=now, closed=now,
        )  # fmt: skip
        Arm.objects.bulk_create(
            Arm(study=study, name=condition, position=place) for place, condition in enumerate(self.conditions)
        )
        kind = kind_named("team")
        study.current = StudyVersion.objects.create(
            study=study, number=1, title=name, task=str(kind.task), plan=default_plan(),
            settings=kind.clean_settings({}) | {
                "trials": 0, "left_out": {}, "explanation_sets": [],
                "groups": [{"name": condition, "sets": []} for condition in self.conditions],
                "imported": self.reading.written() | {"file": self.file},
            },
        )  # fmt: skip
        study.save(update_fields=["current"])
        return study

    def _way(self) -> str:
        if not self.conditions:
            return str(Study.Conditions.TOGETHER)
        one_each = all(len(met) == 1 for met in self.by_person.values())
        return str(Study.Conditions.BETWEEN if one_each else Study.Conditions.WITHIN)

    def _check_same(self, study: Study) -> None:
        """Whether this file can be added to what an earlier one left."""
        if self.owner is not None and study.owner_id not in (None, self.owner.pk) and not self.owner.is_superuser:
            raise ImportRefused(f"There is an import “{study}” of somebody else. Choose another name.")
        kept = study.version.settings.get("imported", {})
        again = self.reading.written()
        if any(kept.get(key) != again[key] for key in again):
            raise ImportRefused(f"“{study}” was imported with other columns. Import it under another name.")
        strange = set(self.conditions) - set(study.arms.values_list("name", flat=True))
        if strange:
            raise ImportRefused(f"“{study}” has no condition “{min(strange)}”. Import it under another name.")
        labels = {one.shown.label for one in self.found.said} | set(self.truths.values())
        unknown = labels - set(study.image_set.classes) - {""}
        if unknown:
            raise ImportRefused(f"“{study}” has no class “{min(unknown)}”. Import it under another name.")

    # --- what was shown -------------------------------------------------------------------------------------------

    def _images(self, pictures: ImageSet | None) -> dict[str, int]:
        """The image's name → its row. New ones with what they show."""
        image_set = self.study.image_set
        classes = {name: index for index, name in enumerate(image_set.classes)}
        ids = dict(Image.objects.filter(image_set=image_set).values_list("name", "pk"))
        said = ImageLabel.objects.filter(image__image_set=image_set, source=LABEL_SOURCE)
        shown = dict(said.values_list("image__name", "index"))
        wanted = dict.fromkeys(one.shown.image for one in self.found.said)
        for name in wanted:
            if name in ids and name in self.truths and shown.get(name) != classes[self.truths[name]]:
                raise ImportRefused(
                    f"“{self.study}” was imported with something else in “{name}” than “{self.truths[name]}”. "
                    "Import it under another name."
                )
        made = Pictures(image_set, pictures)
        for batch in _batches((name for name in wanted if name not in ids), BATCH):
            rows = Image.objects.bulk_create(made.rows(batch))
            ImageLabel.objects.bulk_create(
                ImageLabel(image=row, index=classes[self.truths[row.name]], source=LABEL_SOURCE)
                for row in rows
                if row.name in self.truths
            )
            ids |= {row.name: row.pk for row in rows}
            self.report.images += len(rows)
        self.report.pictures = made.found
        return ids

    def _trials(self, images: dict[str, int], arms: dict[str, Arm]) -> dict[Shown, int]:
        """What was shown → its trial."""
        keys = {shown: self._trial_key(shown) for shown in dict.fromkeys(one.shown for one in self.found.said)}
        ids = dict(Trial.objects.filter(study=self.study).values_list("uuid", "pk"))
        for batch in _batches(((shown, key) for shown, key in keys.items() if key not in ids), BATCH):
            trials = Trial.objects.bulk_create(
                Trial(
                    uuid=key, study=self.study, arm=arms.get(shown.condition), image_id=images[shown.image],
                    phase=shown.phase, context=self._context(shown), gold=self._gold(shown),
                    random_key=random.Random(str(key)).getrandbits(RANDOM_KEY_BITS),
                )
                for shown, key in batch
            )  # fmt: skip
            ids |= {trial.uuid: trial.pk for trial in trials}
            self.report.trials += len(trials)
        if self.report.trials:
            self._count(arms.values())
        return {shown: ids[key] for shown, key in keys.items()}

    def _trial_key(self, shown: Shown) -> uuid.UUID:
        told = [shown.phase, shown.condition, shown.image, shown.label, shown.confidence, shown.ai_right]
        return uuid.uuid5(self.study.uuid, json.dumps(told))

    def _context(self, shown: Shown) -> dict[str, Any]:
        context: dict[str, Any] = {"shown": "predicted"}
        if shown.label:
            context["class_name"] = shown.label
        if shown.confidence is not None:
            context["confidence"] = shown.confidence
        return context

    def _gold(self, shown: Shown) -> dict[str, Any] | None:
        """What the file says of the AI being right, where label and image do not say it themselves."""
        if shown.ai_right is None or (shown.label and shown.image in self.truths):
            return None
        return {"answer": {ACCEPT: shown.ai_right}, "feedback": ""}

    def _count(self, arms: Iterable[Arm]) -> None:
        main = Trial.objects.filter(study=self.study, phase=Phase.MAIN)
        counts = []
        for arm in arms:
            arm.main_trials = main.filter(arm=arm).count()
            arm.save(update_fields=["main_trials"])
            counts.append(arm.main_trials)
        between = self.study.conditions == Study.Conditions.BETWEEN
        self.study.main_trials = max(counts) if between and counts else main.count()
        self.study.save(update_fields=["main_trials"])

    # --- who answered ---------------------------------------------------------------------------------------------

    def _people(self, arms: dict[str, Arm]) -> dict[str, Participant]:
        """Person → participant. Who it was can be told by nobody but the source: only a hash is kept."""
        between = self.study.conditions == Study.Conditions.BETWEEN
        kinds = {one.person: one.kind for one in self.found.said}
        there = {person.external_id: person for person in self.study.participants.select_related("arm")}
        fresh: list[Participant] = []
        people: dict[str, Participant] = {}
        now = timezone.now()
        for person in sorted(kinds):
            mark = self._mark(person)
            met = self.by_person[person]
            known = there.get(mark)
            if between and (len(met) > 1 or (known and known.arm and {known.arm.name} != met)):
                raise ImportRefused(
                    f"Each person of “{self.study}” met one condition, “{person}” met several. "
                    "Import it under another name."
                )
            if known is None:
                number = len(there) + len(fresh)
                known = Participant(
                    uuid=uuid.uuid5(self.study.uuid, mark), study=self.study, kind=kinds[person], number=number,
                    pseudonym=f"person-{number + 1:03d}", external_id=mark, order_offset=0,
                    arm=arms[next(iter(met))] if between else None,
                    phase=Participant.Phase.DONE, outcome=Participant.Outcome.COMPLETED, finished=now,
                )  # fmt: skip
                fresh.append(known)
            people[person] = known
        Participant.objects.bulk_create(fresh, batch_size=BATCH)
        self.report.people = len(fresh)
        return people

    def _mark(self, person: str) -> str:
        return f"{Participant.VISIT}{hashlib.sha256(f'{self.study.uuid}/{person}'.encode()).hexdigest()[:32]}"

    def _answers(self, trials: dict[Shown, int], people: dict[str, Participant], progress: Progress | None) -> None:
        accepts = Judgement.objects.filter(answer__assignment__trial__study=self.study, question=ACCEPT)
        there = {
            (person, trial): truth
            for person, trial, truth in accepts.values_list(
                "answer__assignment__participant", "answer__assignment__trial", "truth"
            )
        }
        rows: list[tuple[Said, int, int]] = []
        places: dict[tuple[str, str], int] = defaultdict(int)
        for one in self.found.said:
            trial, person = trials[one.shown], people[one.person].pk
            places[one.person, one.shown.phase] += 1
            if (person, trial) in there:
                self.report.already += 1
                self.report.otherwise += there[person, trial] != one.accepted
            else:
                rows.append((one, trial, one.place or places[one.person, one.shown.phase]))
        for batch in _batches(rows, BATCH):
            self._write(batch, people)
            self.report.answers += len(batch)
            if progress:
                progress(self.report.answers, len(rows))

    def _write(self, batch: Sequence[tuple[Said, int, int]], people: dict[str, Participant]) -> None:
        version, now = self.study.version, timezone.now()
        assignments = Assignment.objects.bulk_create(
            Assignment(
                participant=people[one.person], trial_id=trial, state=Assignment.State.ANSWERED, order=[], place=place,
                lease_until=now, answered=now,
            )
            for one, trial, place in batch
        )  # fmt: skip
        answers = Answer.objects.bulk_create(
            Answer(
                assignment=assignment, version=version, duration_ms=one.milliseconds,
                submission=uuid.uuid5(self.study.uuid, f"{people[one.person].uuid}/{trial}"),
                correct=None if one.shown.phase == Phase.MAIN else one.correct,
            )
            for assignment, (one, trial, _) in zip(assignments, batch, strict=True)
        )  # fmt: skip
        payloads = [_payload(one) for one, _, _ in batch]
        AnswerRevision.objects.bulk_create(
            AnswerRevision(answer=answer, number=1, submission=answer.submission, version=version, payload=payload)
            for answer, payload in zip(answers, payloads, strict=True)
        )
        judged = [
            Judgement(answer=answer, question=ACCEPT, truth=payload[ACCEPT])
            for answer, payload in zip(answers, payloads, strict=True)
        ]
        judged += [
            Judgement(answer=answer, question=CONFIDENCE, number=payload[CONFIDENCE])
            for answer, payload in zip(answers, payloads, strict=True)
            if CONFIDENCE in payload
        ]
        Judgement.objects.bulk_create(judged)


def _payload(one: Said) -> dict[str, Any]:
    """The answer as the page would have sent it."""
    sure = {} if one.own_confidence is None else {CONFIDENCE: one.own_confidence}
    return {ACCEPT: one.accepted, **sure}


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
