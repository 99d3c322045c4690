"""The released harmony_app's examples and labels as a study with answers: the same rows again add nothing.

Every row's UUID follows from the study and the example (and the rater), so a second import finds what is there. Users
become pseudonyms; their names are not kept. Their application drew the sides anew at every page and kept them nowhere,
so the order of an imported assignment is empty and no figure of sides is made of it.
"""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone

from annotation.exchange.harmony_app import Example, Released
from annotation.exchange.harmony_app_names import CHOICES, method_of, metric_of
from annotation.exchange.harmony_app_pictures import Pictures
from annotation.models import (
    Answer,
    AnswerRevision,
    Arm,
    Assignment,
    Judgement,
    Participant,
    Stimulus,
    Study,
    StudyVersion,
    Trial,
)
from annotation.models.studies import RANDOM_KEY_BITS, Phase
from annotation.plan import default_plan
from annotation.studies import kind_named
from annotation.studies.preference import CHOSEN, NEITHER
from mlcore.exchange.report import ImportRefused, Progress
from mlcore.models import AuditEntry, Image, ImageLabel, ImageSet

CONDITIONS = ("original", "tuned")
SIDE = 224  # of their pictures
SOURCE = "import"
BATCH = 500
ROOT = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/davor10105/harmony_app")
T = TypeVar("T")


@dataclass
class Imported:
    """What came in, and what did not. `study` is there in any case."""

    study: Study
    examples: int = 0
    raters: int = 0
    labels: int = 0
    already: int = 0
    repeated: int = 0
    contradicting: int = 0
    without_example: int = 0
    pictures: int = 0

    def sentence(self) -> str:
        """The counts in words."""
        said = [f"{self.examples} examples, {self.raters} raters and {self.labels} labels added"]
        if self.already:
            said.append(f"{self.already} labels already there")
        if self.repeated:
            said.append(
                f"{self.repeated} repeated labels left out, the first of each counts "
                f"({self.contradicting} said something else)"
            )
        if self.without_example:
            said.append(f"{self.without_example} labels of examples that are not in it left out")
        if self.pictures:
            said.append(f"{self.pictures} examples with pictures")
        return f"{self.study}: {'; '.join(said)}."


@transaction.atomic
def import_released(
    released: Released, *, name: str, owner: Any, media: Path | None = None, progress: Progress | None = None
) -> Imported:
    """A closed preference study of everything in it, one condition a cell (dataset, metric, classifier, method).

    media: the folder that the examples' paths start from; without it the study holds labels without pictures.
    Raises ImportRefused with a sentence, and then nothing is written.
    """
    study = _study(released, name, owner)
    report = Imported(study, repeated=released.repeated, contradicting=released.contradicting,
                      without_example=released.without_example)  # fmt: skip
    pictures = Pictures(study, owner, media) if media is not None else None
    examples = _add_examples(study, released.examples, report, pictures, progress)
    people = _add_people(study, released, report)
    _add_labels(study, released, examples, people, report)
    if report.examples or report.labels:
        counts = {"examples": report.examples, "raters": report.raters, "labels": report.labels}
        AuditEntry.write(owner, "study.import_harmony_app", study, after=counts)
    return report


def cell_name(example: Example) -> str:
    """How the study names the cell, at most as long as an arm's name may be."""
    dataset, experiment, model, method = example.cell
    return f"{metric_of(experiment)} · {model} · {method_of(method)} · {dataset}"[:80]


def _study(released: Released, name: str, owner: Any) -> Study:
    name = name.strip()
    if not 0 < len(name) <= 120:
        raise ImportRefused("Give the study a name of at most 120 characters.")
    key = uuid.uuid5(ROOT, name)
    found = Study.objects.select_for_update().filter(uuid=key).first()
    if found is not None:
        if owner is not None and found.owner_id not in (None, owner.pk) and not owner.is_superuser:
            raise ImportRefused(f"There is an import “{name}” of somebody else. Choose another name.")
        return found
    if Study.objects.filter(name=name).exists() or ImageSet.objects.filter(name=name).exists():
        raise ImportRefused(f"There is a study or an image set “{name}” already. Choose another name.")
    classes = sorted({example.prediction for example in released.examples})
    image_set = ImageSet.objects.create(
        uuid=uuid.uuid5(key, "images"), name=name, owner=owner, classes=classes,
        description="Imported from harmony_app; classes are what its classifier predicted.",
    )  # fmt: skip
    now = timezone.now()
    study = Study.objects.create(
        uuid=key, name=name, kind="preference", owner=owner, image_set=image_set, state=Study.State.CLOSED,
        mode=Study.Mode.EVERYONE, conditions=Study.Conditions.WITHIN, published=now, closed=now,
    )  # fmt: skip
    cells = {cell_name(example): example for example in released.examples}
    Arm.objects.bulk_create(Arm(study=study, name=cell, position=place) for place, cell in enumerate(sorted(cells)))
    groups = [
        {
            "name": cell, "sets": [], "conditions": list(CONDITIONS), "metric": metric_of(cells[cell].experiment),
            "method": method_of(cells[cell].relevancy_method), "classifier": cells[cell].cnn_model,
        }
        for cell in sorted(cells)
    ]  # fmt: skip
    settings = kind_named("preference").clean_settings({"shown_class": "true"})
    study.current = StudyVersion.objects.create(
        study=study, number=1, title=name, task=str(kind_named("preference").task), plan=default_plan(),
        settings=settings | {"trials": 0, "left_out": {}, "explanation_sets": [], "groups": groups},
    )  # fmt: skip
    study.save(update_fields=["current"])
    return study


def _add_examples(
    study: Study,
    examples: Sequence[Example],
    report: Imported,
    pictures: Pictures | None,
    progress: Progress | None,
) -> dict[int, tuple[int, dict[str, int]]]:
    """The example's number → its trial and the stimulus of each condition."""
    arms = {arm.name: arm for arm in study.arms.all()}
    unknown = {cell_name(example) for example in examples} - set(arms)
    if unknown:
        raise ImportRefused(f"“{study}” was imported without the cell “{min(unknown)}”. Import it under another name.")
    classes = {name: index for index, name in enumerate(study.image_set.classes)}
    keys = {example.number: _key(study, example) for example in examples}
    if len(set(keys.values())) < len(keys):
        raise ImportRefused("Two examples are of the same cell and image.")
    there = set(Trial.objects.filter(study=study).values_list("uuid", flat=True))
    fresh = [example for example in examples if keys[example.number] not in there]
    lost = sorted({example.prediction for example in fresh} - set(classes))
    if lost:
        raise ImportRefused(f"“{study}” was imported without the class “{lost[0]}”. Import it under another name.")
    done = 0
    for batch in _batches(fresh, BATCH):
        images = _images(study, batch, classes, pictures)
        trials = [
            Trial(
                uuid=keys[example.number],
                study=study,
                arm=arms[cell_name(example)],
                image=images[example.image],
                context={"shown": "true", "class_name": example.prediction},
                random_key=random.Random(str(keys[example.number])).getrandbits(RANDOM_KEY_BITS),
            )
            for example in batch
        ]
        Trial.objects.bulk_create(trials)
        shown = pictures.maps(batch, images) if pictures is not None else {}
        Stimulus.objects.bulk_create(
            Stimulus(
                uuid=uuid.uuid5(trial.uuid, condition),
                trial=trial,
                slot=slot,
                condition=condition,
                explanation=shown.get((example.number, condition)),
            )
            for trial, example in zip(trials, batch, strict=True)
            for slot, condition in enumerate(CONDITIONS)
        )
        report.examples += len(batch)
        report.pictures += len(shown) // len(CONDITIONS)
        done += len(batch)
        if progress:
            progress(done, len(fresh))
    if fresh:
        _count(study, arms.values())
    ids: dict[uuid.UUID, tuple[int, dict[str, int]]] = {}
    rows = Stimulus.objects.filter(trial__study=study).values_list("trial__uuid", "trial_id", "condition", "pk")
    for key, trial_id, condition, stimulus in rows.iterator(chunk_size=5000):
        ids.setdefault(key, (trial_id, {}))[1][condition] = stimulus
    return {number: ids[key] for number, key in keys.items()}


def _key(study: Study, example: Example) -> uuid.UUID:
    return uuid.uuid5(study.uuid, "/".join((*example.cell, example.image)))


def _images(
    study: Study, batch: Sequence[Example], classes: dict[str, int], pictures: Pictures | None
) -> dict[str, Image]:
    """The images of these examples, by their path; new ones with the predicted class as label."""
    names = {example.image: example.prediction for example in batch}
    found = {image.name: image for image in Image.objects.filter(image_set=study.image_set, name__in=list(names))}
    fresh = []
    for name in names:
        if name in found:
            continue
        image = pictures.image(name) if pictures is not None else None
        if image is None:
            # No file: a hash of the name keeps the row unique, and nobody takes it for a picture's.
            digest = hashlib.sha256(f"no picture/{name}".encode()).hexdigest()
            image = Image(image_set=study.image_set, name=name, sha256=digest, width=SIDE, height=SIDE)
        image.uuid = uuid.uuid5(study.image_set.uuid, name)
        fresh.append(image)
    Image.objects.bulk_create(fresh)
    ImageLabel.objects.bulk_create(
        ImageLabel(image=image, index=classes[names[image.name]], source=SOURCE) for image in fresh
    )
    return found | {image.name: image for image in fresh}


def _count(study: Study, arms: Iterable[Arm]) -> None:
    total = 0
    for arm in arms:
        arm.main_trials = Trial.objects.filter(study=study, arm=arm, phase=Phase.MAIN).count()
        arm.save(update_fields=["main_trials"])
        total += arm.main_trials
    study.main_trials = total
    study.save(update_fields=["main_trials"])


def _add_people(study: Study, released: Released, report: Imported) -> dict[int, Participant]:
    """User → participant. Who it was can be told by nobody but the source: only a hash of the name is kept."""
    raters = sorted({user for user, _ in released.labels})
    marks = {user: _mark(study, released.users.get(user, str(user))) for user in raters}
    there = {person.external_id: person for person in study.participants.all()}
    fresh: list[Participant] = []
    now = timezone.now()
    for user in raters:
        if marks[user] in there:
            continue
        number = len(there) + len(fresh)
        fresh.append(
            Participant(
                uuid=uuid.uuid5(study.uuid, marks[user]), study=study, kind=Participant.Kind.IMPORTED, number=number,
                pseudonym=f"rater-{number + 1:03d}", external_id=marks[user], order_offset=0,
                phase=Participant.Phase.DONE, outcome=Participant.Outcome.COMPLETED, finished=now,
            )
        )  # fmt: skip
    Participant.objects.bulk_create(fresh)
    report.raters = len(fresh)
    there |= {person.external_id: person for person in fresh}
    return {user: there[mark] for user, mark in marks.items()}


def _mark(study: Study, name: str) -> str:
    return f"{Participant.VISIT}{hashlib.sha256(f'{study.uuid}/{name}'.encode()).hexdigest()[:32]}"


def _add_labels(
    study: Study,
    released: Released,
    examples: dict[int, tuple[int, dict[str, int]]],
    people: dict[int, Participant],
    report: Imported,
) -> None:
    there = set(
        Assignment.objects.filter(trial__study=study, participant__in=people.values()).values_list(
            "participant_id", "trial_id"
        )
    )
    version, now = study.version, timezone.now()
    places = {person.pk: 0 for person in people.values()}
    rows = []
    for (user, example), choice in released.labels.items():
        person, (trial, stimuli) = people[user], examples[example]
        if (person.pk, trial) in there:
            report.already += 1
            continue
        places[person.pk] += 1
        rows.append((person, trial, stimuli, choice, places[person.pk]))
    for batch in _batches(rows, BATCH):
        assignments = [
            Assignment(
                participant=person, trial_id=trial, state=Assignment.State.ANSWERED, order=[], place=place,
                lease_until=now, answered=now,
            )
            for person, trial, _, _, place in batch
        ]  # fmt: skip
        Assignment.objects.bulk_create(assignments)
        answers = [
            Answer(
                assignment=assignment,
                version=version,
                submission=uuid.uuid5(study.uuid, f"{person.uuid}/{trial}"),
            )
            for assignment, (person, trial, *_) in zip(assignments, batch, strict=True)
        ]
        Answer.objects.bulk_create(answers)
        AnswerRevision.objects.bulk_create(
            AnswerRevision(
                answer=answer, number=1, submission=answer.submission, version=version, payload={"choice": choice}
            )
            for answer, (_, _, _, choice, _) in zip(answers, batch, strict=True)
        )
        Judgement.objects.bulk_create(
            _judgement(answer, stimuli, choice)
            for answer, (_, _, stimuli, choice, _) in zip(answers, batch, strict=True)
        )
        report.labels += len(batch)


def _judgement(answer: Answer, stimuli: dict[str, int], choice: str) -> Judgement:
    condition = CHOICES[choice]
    if condition == NEITHER:
        return Judgement(answer=answer, question=NEITHER, truth=True)
    return Judgement(answer=answer, stimulus_id=stimuli[condition], question=CHOSEN, truth=True)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
