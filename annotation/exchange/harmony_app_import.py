"""The released harmony_app's examples and labels as a study with answers: the same rows again add nothing.

Every row's UUID follows from the study and the example (and the rater), so a second import finds what is there. Users
become pseudonyms; their names are not kept. Their application drew the sides anew at every page and kept them nowhere,
so the order of an imported assignment is empty and no figure of sides is made of it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotation.exchange.harmony_app import Example, Released
from annotation.exchange.harmony_app_names import CHOICES, method_of, metric_of
from annotation.exchange.harmony_app_pictures import Pictures
from annotation.exchange.imported import (
    BATCH,
    Given,
    all_or_nothing,
    closed_study,
    count_trials,
    image_without_picture,
    known_study,
    mark_of,
    participant_of,
    study_key,
    write_answers,
    write_version,
)
from annotation.models import Arm, Assignment, Participant, Stimulus, Study, Trial
from annotation.models.studies import RANDOM_KEY_BITS
from annotation.studies.preference import CHOSEN, NEITHER
from harmony.batches import in_batches
from mlcore.exchange.report import ImportRefused, Progress
from mlcore.models import AuditEntry, Image, ImageLabel
from mlcore.models.images import LABEL_SOURCE

CONDITIONS = ("original", "tuned")
ROOT = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/davor10105/harmony_app")


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


def import_released(
    released: Released, *, name: str, owner: Any, media: Path | None = None, progress: Progress | None = None
) -> Imported:
    """A closed preference study of everything in it, one condition a cell (dataset, metric, classifier, method).

    media: the folder that the examples' paths start from; without it the study holds labels without pictures.
    Raises ImportRefused with a sentence, and then nothing is written.
    """
    with all_or_nothing(name):
        study = _study(released, name.strip(), owner)
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
    key = study_key(ROOT, name)
    found = known_study(key, owner)
    if found is not None:
        return found
    study = closed_study(
        key, name, owner, kind="preference", conditions=Study.Conditions.WITHIN,
        classes={example.prediction for example in released.examples},
        described="Imported from harmony_app; classes are what its classifier predicted.",
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
    write_version(study, {"shown_class": "true"}, groups)
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
    for batch in in_batches(fresh, BATCH):
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
        count_trials(study, arms.values())
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
        image = image or image_without_picture(study.image_set, name)
        image.uuid = uuid.uuid5(study.image_set.uuid, name)
        fresh.append(image)
    Image.objects.bulk_create(fresh)
    ImageLabel.objects.bulk_create(
        ImageLabel(image=image, index=classes[names[image.name]], source=LABEL_SOURCE) for image in fresh
    )
    return found | {image.name: image for image in fresh}


def _add_people(study: Study, released: Released, report: Imported) -> dict[int, Participant]:
    """User → participant. Who it was can be told by nobody but the source: only a hash of the name is kept."""
    raters = sorted({user for user, _ in released.labels})
    marks = {user: mark_of(study, released.users.get(user, str(user))) for user in raters}
    there = {person.external_id: person for person in study.participants.all()}
    fresh: list[Participant] = []
    for user in raters:
        if marks[user] not in there:
            number = len(there) + len(fresh)
            kind = Participant.Kind.IMPORTED
            fresh.append(participant_of(study, marks[user], number, "rater", kind=kind, arm=None))
    Participant.objects.bulk_create(fresh)
    report.raters = len(fresh)
    there |= {person.external_id: person for person in fresh}
    return {user: there[mark] for user, mark in marks.items()}


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
    places = {person.pk: 0 for person in people.values()}
    rows: list[Given] = []
    for (user, example), choice in released.labels.items():
        person, (trial, stimuli) = people[user], examples[example]
        if (person.pk, trial) in there:
            report.already += 1
            continue
        places[person.pk] += 1
        rows.append(Given(person, trial, places[person.pk], {"choice": choice}, [_judged(stimuli, choice)]))
    for batch in in_batches(rows, BATCH):
        write_answers(study, batch)
        report.labels += len(batch)


def _judged(stimuli: dict[str, int], choice: str) -> dict[str, Any]:
    condition = CHOICES[choice]
    if condition == NEITHER:
        return {"question": NEITHER, "truth": True}
    return {"question": CHOSEN, "truth": True, "stimulus_id": stimuli[condition]}
