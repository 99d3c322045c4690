"""An answer becomes a row exactly once; a change is a further revision. Nothing acknowledged here is ever lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError
from django.utils import timezone
from django.utils.translation import gettext as _

from annotation.drafts import Current, drop_draft, held, load, load_draft, save_draft
from annotation.errors import AnswerConflict, AnswerInvalid, StudyClosed, TrialTaken
from annotation.models import Answer, AnswerRevision, Assignment, StudyVersion
from annotation.models.studies import Phase
from annotation.plan import default_plan
from annotation.studies import Kind, kind_of
from annotation.studies.base import Cleaned, Grade
from annotation.studies.serializers import TimingSerializer, checked

__all__ = [
    "AnswerConflict",
    "AnswerInvalid",
    "Current",
    "StudyClosed",
    "Submitted",
    "TrialTaken",
    "load",
    "load_draft",
    "save_draft",
    "submit",
]


@dataclass(frozen=True)
class Submitted:
    """What became of a submission; `repeated` when it had arrived before, and then `revision` is the one it made.

    `feedback` is what a practice trial says about the answer.
    """

    answer: Answer
    revision: AnswerRevision
    repeated: bool
    feedback: Grade | None = None


def submit(
    *,
    assignment: Assignment,
    submission: UUID,
    payload: Any,
    drawing: bytes | None = None,
    duration_ms: int | None = None,
    events: Any = None,
    base_revision: int | None = None,
) -> Submitted:
    """Keep an answer, or a change of one, in one transaction.

    `submission` is made by the sender: the same one again returns the first result and writes nothing.
    `base_revision` is the revision that the person saw, None (or 0) where the trial was not answered yet.

    Raises AnswerInvalid with a sentence a field; StudyClosed; AnswerConflict with what stands now when
    `base_revision` is not the newest; TrialTaken (an AnswerConflict) when the lease ran out and the place was given
    away. An answer under a lease that merely ran out is accepted.

    Practice, qualification and check trials are answered once: a change raises StudyClosed.
    """
    study = assignment.trial.study
    kind, version = kind_of(study), study.version
    cleaned = kind.clean(assignment, payload, drawing, version.settings)
    grade = _grade(kind, assignment, cleaned)
    told = grade if assignment.trial.phase == Phase.PRACTICE and _tells(version) else None
    timing = checked(TimingSerializer(data={"duration_ms": duration_ms, "events": [] if events is None else events}))
    try:
        with held(assignment) as row:
            answer = None
            if row.state == Assignment.State.ANSWERED:
                first = _earlier(row, submission, told)
                if first is not None:
                    return first
                if row.trial.phase != Phase.MAIN:
                    raise StudyClosed(_("This one is answered and stays as it is. Here is the next."))
                answer = Answer.objects.get(assignment=row)
            if (base_revision or 0) != (answer.revision if answer else 0):
                raise AnswerConflict(load(row))
            timing["correct"] = grade.right if grade else None
            return _write(row, answer, kind, version, submission, cleaned, timing, told)
    except (StudyClosed, TrialTaken, IntegrityError):
        # The same submission may have been kept before the study closed.
        first = _earlier(assignment, submission, told)
        if first is None:
            raise
        return first


def _grade(kind: Kind, assignment: Assignment, cleaned: Cleaned) -> Grade | None:
    """The answer against the trial's gold, with what the researcher wants said about it."""
    gold = assignment.trial.gold
    if not gold or gold.get("answer") is None:
        return None
    grade = kind.grade(assignment, cleaned, gold["answer"])
    own = str(gold.get("feedback") or "")
    return Grade(grade.right, " ".join(part for part in (grade.sentence, own) if part))


def _tells(version: StudyVersion) -> bool:
    return bool((version.plan or default_plan())["practice"]["feedback"])


def _earlier(assignment: Assignment, submission: UUID, told: Grade | None) -> Submitted | None:
    revision = AnswerRevision.objects.filter(submission=submission).select_related("answer").first()
    if revision is None:
        return None
    if revision.answer.assignment_id != assignment.pk:
        raise AnswerInvalid({"submission": _("This submission belongs to another trial. Reload the page.")})
    return Submitted(revision.answer, revision, repeated=True, feedback=told)


def _write(
    assignment: Assignment,
    answer: Answer | None,
    kind: Kind,
    version: StudyVersion,
    submission: UUID,
    cleaned: Cleaned,
    timing: Mapping[str, Any],
    told: Grade | None,
) -> Submitted:
    if answer is None:
        answer = Answer.objects.create(assignment=assignment, version=version, submission=submission, **timing)
        assignment.state, assignment.answered = Assignment.State.ANSWERED, timezone.now()
        assignment.save(update_fields=["state", "answered"])
    else:
        # The first answer's time and events stay: they say how long the judgement took.
        answer.revision += 1
        answer.version, answer.correct = version, timing["correct"]
        answer.save(update_fields=["revision", "version", "correct", "changed"])
    kind.record(answer, cleaned, assignment)
    kept = {"answer": cleaned.payload, "duration_ms": timing["duration_ms"], "events": timing["events"]}
    if cleaned.drawing is not None:
        kept["drawing_sha256"] = cleaned.drawing.sha256
    revision = AnswerRevision.objects.create(
        answer=answer, number=answer.revision, submission=submission, version=version, payload=kept
    )
    drop_draft(assignment)
    return Submitted(answer, revision, repeated=False, feedback=told)
