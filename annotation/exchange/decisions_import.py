"""Published decisions as a closed team study with answers: the same rows again add nothing.

Every row's UUID follows from the study's name and from what the file says, so a second import finds what is there.
People become pseudonyms; what the file calls them is not kept. Methods that are compared are AIs with labels of their
own, so a trial is of one condition; whether the AI was right follows from its label and the image's, and stands in the
trial's right answer where the file tells it without them.
"""

from __future__ import annotations

import json
import random
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from annotation.exchange.decisions_columns import Reading
from annotation.exchange.decisions_pictures import Pictures
from annotation.exchange.decisions_rows import Decisions, Said, Shown
from annotation.exchange.imported import (
    BATCH,
    Given,
    all_or_nothing,
    closed_study,
    count_trials,
    known_study,
    mark_of,
    participant_of,
    study_key,
    write_answers,
    write_version,
)
from annotation.models import Arm, Judgement, Participant, Study, Trial
from annotation.models.studies import RANDOM_KEY_BITS, Phase
from annotation.studies.team import ACCEPT, CONFIDENCE
from harmony.batches import in_batches
from mlcore.exchange.report import ImportRefused, Progress
from mlcore.models import AuditEntry, Image, ImageLabel, ImageSet
from mlcore.models.images import LABEL_SOURCE

ROOT = uuid.uuid5(uuid.NAMESPACE_URL, "harmony/imported-decisions")


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
    with all_or_nothing(name):
        return _Import(found, reading, name, owner, file).perform(pictures, progress)


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
        key = study_key(ROOT, name)
        found = known_study(key, self.owner)
        if found is not None:
            self._check_same(found)
            return found
        named = {one.shown.label for one in self.found.said} | set(self.truths.values())
        study = closed_study(
            key, name, self.owner, kind="team", conditions=self._way(), classes=named - {""},
            described=f"Of the decisions imported from {self.file}.",
        )  # fmt: skip
        Arm.objects.bulk_create(
            Arm(study=study, name=condition, position=place) for place, condition in enumerate(self.conditions)
        )
        groups = [{"name": condition, "sets": []} for condition in self.conditions]
        write_version(study, {}, groups, imported=self.reading.written() | {"file": self.file})
        return study

    def _way(self) -> str:
        if not self.conditions:
            return str(Study.Conditions.TOGETHER)
        one_each = all(len(met) == 1 for met in self.by_person.values())
        return str(Study.Conditions.BETWEEN if one_each else Study.Conditions.WITHIN)

    def _check_same(self, study: Study) -> None:
        """Whether this file can be added to what an earlier one left."""
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
        for batch in in_batches((name for name in wanted if name not in ids), BATCH):
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
        for batch in in_batches(((shown, key) for shown, key in keys.items() if key not in ids), BATCH):
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
            count_trials(self.study, arms.values())
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

    # --- who answered ---------------------------------------------------------------------------------------------

    def _people(self, arms: dict[str, Arm]) -> dict[str, Participant]:
        """Person → participant. Who it was can be told by nobody but the source: only a hash is kept."""
        between = self.study.conditions == Study.Conditions.BETWEEN
        kinds = {one.person: one.kind for one in self.found.said}
        there = {person.external_id: person for person in self.study.participants.select_related("arm")}
        fresh: list[Participant] = []
        people: dict[str, Participant] = {}
        for person in sorted(kinds):
            mark = mark_of(self.study, person)
            met = self.by_person[person]
            known = there.get(mark)
            if between and (len(met) > 1 or (known and known.arm and {known.arm.name} != met)):
                raise ImportRefused(
                    f"Each person of “{self.study}” met one condition, “{person}” met several. "
                    "Import it under another name."
                )
            if known is None:
                known = participant_of(
                    self.study, mark, len(there) + len(fresh), "person", kind=kinds[person],
                    arm=arms[next(iter(met))] if between else None,
                )  # fmt: skip
                fresh.append(known)
            people[person] = known
        Participant.objects.bulk_create(fresh, batch_size=BATCH)
        self.report.people = len(fresh)
        return people

    def _answers(self, trials: dict[Shown, int], people: dict[str, Participant], progress: Progress | None) -> None:
        accepts = Judgement.objects.filter(answer__assignment__trial__study=self.study, question=ACCEPT)
        there = {
            (person, trial): truth
            for person, trial, truth in accepts.values_list(
                "answer__assignment__participant", "answer__assignment__trial", "truth"
            )
        }
        rows: list[Given] = []
        places: dict[tuple[str, str], int] = defaultdict(int)
        for one in self.found.said:
            trial, person = trials[one.shown], people[one.person]
            places[one.person, one.shown.phase] += 1
            if (person.pk, trial) in there:
                self.report.already += 1
                self.report.otherwise += there[person.pk, trial] != one.accepted
            else:
                rows.append(_given(one, person, trial, one.place or places[one.person, one.shown.phase]))
        for batch in in_batches(rows, BATCH):
            write_answers(self.study, batch)
            self.report.answers += len(batch)
            if progress:
                progress(self.report.answers, len(rows))


def _given(one: Said, person: Participant, trial: int, place: int) -> Given:
    """The answer as the page would have sent it."""
    payload: dict[str, Any] = {ACCEPT: one.accepted}
    judged: list[dict[str, Any]] = [{"question": ACCEPT, "truth": one.accepted}]
    if one.own_confidence is not None:
        payload[CONFIDENCE] = one.own_confidence
        judged.append({"question": CONFIDENCE, "number": one.own_confidence})
    correct = None if one.shown.phase == Phase.MAIN else one.correct
    return Given(person, trial, place, payload, judged, one.milliseconds, correct)
