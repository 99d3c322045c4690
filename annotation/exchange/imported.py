"""What studies from elsewhere have in common: closed, with people who are pseudonyms and answers that stand.

Every row's UUID follows from the study's name and from what was told, so that the same import again finds what is
there and adds nothing.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.utils import timezone

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
from annotation.models.studies import Phase
from annotation.plan import default_plan
from annotation.studies import kind_named
from mlcore.exchange.report import ImportRefused
from mlcore.models import Image, ImageSet

BATCH = 500
MOST_STUDY_NAME = 120
SIDE = 224  # of the grey place that stands for a picture which nobody has


@contextmanager
def all_or_nothing(name: str) -> Iterator[None]:
    """One transaction. Raises ImportRefused where somebody else writes an import of this name at the same moment."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        raise ImportRefused(
            f"“{name}” is being imported by somebody else just now. Look for it in a minute."
        ) from error


def study_key(root: uuid.UUID, name: str) -> uuid.UUID:
    """The UUID of the study that an import of this name has. root: of the kind of source."""
    if not 0 < len(name) <= MOST_STUDY_NAME:
        raise ImportRefused(f"Give the study a name of at most {MOST_STUDY_NAME} characters.")
    return uuid.uuid5(root, name)


def known_study(key: uuid.UUID, owner: Any) -> Study | None:
    """What an earlier import left, locked. Raises ImportRefused where it is somebody else's."""
    found = Study.objects.select_for_update().filter(uuid=key).first()
    if found is None or owner is None or owner.is_superuser or found.owner_id in (None, owner.pk):
        return found
    raise ImportRefused(f"There is an import “{found}” of somebody else. Choose another name.")


def closed_study(
    key: uuid.UUID, name: str, owner: Any, *, kind: str, conditions: str, classes: Iterable[str], described: str
) -> Study:
    """A closed study of this kind with an image set of the same name, without images; its version is still to come.

    described: what the image set says of itself. Raises ImportRefused where the name is taken.
    """
    if Study.objects.filter(name=name).exists() or ImageSet.objects.filter(name=name).exists():
        raise ImportRefused(f"There is a study or an image set “{name}” already. Choose another name.")
    image_set = ImageSet.objects.create(
        uuid=uuid.uuid5(key, "images"), name=name, owner=owner, classes=sorted(classes), description=described
    )
    now = timezone.now()
    return Study.objects.create(
        uuid=key, name=name, kind=kind, owner=owner, image_set=image_set, state=Study.State.CLOSED,
        mode=Study.Mode.EVERYONE, conditions=conditions, published=now, closed=now,
    )  # fmt: skip


def write_version(study: Study, settings: dict[str, Any], groups: Sequence[dict[str, Any]], **told: Any) -> None:
    """The study's first version, as if published with these settings of its kind. told: what only an import keeps."""
    kind = kind_named(study.kind)
    study.current = StudyVersion.objects.create(
        study=study, number=1, title=study.name, task=str(kind.task), plan=default_plan(),
        settings=kind.clean_settings(settings)
        | {"trials": 0, "left_out": {}, "explanation_sets": [], "groups": list(groups)} | told,
    )  # fmt: skip
    study.save(update_fields=["current"])


def image_without_picture(image_set: ImageSet, name: str) -> Image:
    """A row for an image whose file nobody has, not saved. A hash of its name keeps it unique in the set."""
    digest = hashlib.sha256(f"no picture/{name}".encode()).hexdigest()
    return Image(
        uuid=uuid.uuid5(image_set.uuid, name), image_set=image_set, name=name, sha256=digest, width=SIDE, height=SIDE
    )


def count_trials(study: Study, arms: Iterable[Arm]) -> None:
    """How many main trials the study and each condition have, as the pages want it told."""
    main = Trial.objects.filter(study=study, phase=Phase.MAIN)
    counts = []
    for arm in arms:
        arm.main_trials = main.filter(arm=arm).count()
        arm.save(update_fields=["main_trials"])
        counts.append(arm.main_trials)
    between = study.conditions == Study.Conditions.BETWEEN
    study.main_trials = max(counts) if between and counts else main.count()
    study.save(update_fields=["main_trials"])


def mark_of(study: Study, person: str) -> str:
    """What is kept of a person's name: who it was can be told by nobody but the source."""
    return f"{Participant.VISIT}{hashlib.sha256(f'{study.uuid}/{person}'.encode()).hexdigest()[:32]}"


def participant_of(study: Study, mark: str, number: int, called: str, *, kind: str, arm: Arm | None) -> Participant:
    """Somebody who is through with the study, not saved. number: from 0; called: what stands before it."""
    return Participant(
        uuid=uuid.uuid5(study.uuid, mark), study=study, kind=kind, number=number, arm=arm,
        pseudonym=f"{called}-{number + 1:03d}", external_id=mark, order_offset=0,
        phase=Participant.Phase.DONE, outcome=Participant.Outcome.COMPLETED, finished=timezone.now(),
    )  # fmt: skip


class Given(NamedTuple):
    """One answer of the source. `place`: the how-manieth the person gave; `judged`: fields of its judgements."""

    person: Participant
    trial: int
    place: int
    payload: dict[str, Any]
    judged: Sequence[dict[str, Any]]
    milliseconds: int | None = None
    correct: bool | None = None


def write_answers(study: Study, given: Sequence[Given]) -> None:
    """These answers, as the page would have left them: with their revision and their judgements."""
    version, now = study.version, timezone.now()
    assignments = Assignment.objects.bulk_create(
        Assignment(
            participant=one.person, trial_id=one.trial, state=Assignment.State.ANSWERED, order=[], place=one.place,
            lease_until=now, answered=now,
        )
        for one in given
    )  # fmt: skip
    answers = Answer.objects.bulk_create(
        Answer(
            assignment=assignment, version=version, duration_ms=one.milliseconds, correct=one.correct,
            submission=uuid.uuid5(study.uuid, f"{one.person.uuid}/{one.trial}"),
        )
        for assignment, one in zip(assignments, given, strict=True)
    )  # fmt: skip
    AnswerRevision.objects.bulk_create(
        AnswerRevision(answer=answer, number=1, submission=answer.submission, version=version, payload=one.payload)
        for answer, one in zip(answers, given, strict=True)
    )
    Judgement.objects.bulk_create(
        Judgement(answer=answer, **fields) for answer, one in zip(answers, given, strict=True) for fields in one.judged
    )
