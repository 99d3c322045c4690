"""Work that is not yet an answer, kept on the server too; and what stands for a trial at this moment."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.db import transaction
from django.utils.translation import gettext

from annotation import drawings
from annotation.assignment import LOST, reclaim, renew
from annotation.current import Current
from annotation.errors import AnswerConflict, AnswerInvalid, StudyClosed, TrialTaken
from annotation.models import Answer, Assignment, Draft, DrawnMap, Participant, Study
from annotation.studies import kind_of
from annotation.studies.serializers import fits

MOST_DRAFT_BYTES = 1024 * 1024


def load(assignment: Assignment) -> Current:
    """The answer as it stands."""
    answer = Answer.objects.filter(assignment=assignment).first()
    if answer is None:
        return Current(0, None, None, None)
    revision = answer.revisions.get(number=answer.revision)
    drawn = DrawnMap.objects.filter(answer=answer).first()
    return Current(answer.revision, revision.payload["answer"], _bytes(drawn), revision.created)


def load_draft(assignment: Assignment) -> Current | None:
    """The draft; its `revision` is the one that the work began from, as far as the page said so."""
    draft = Draft.objects.filter(assignment=assignment).first()
    if draft is None:
        return None
    begun_from = draft.payload.get("base_revision")
    return Current(begun_from if isinstance(begun_from, int) else 0, draft.payload, _bytes(draft), draft.saved)


def _bytes(row: DrawnMap | Draft | None) -> bytes | None:
    if row is None or not row.file:
        return None
    try:
        with row.file.open("rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def save_draft(
    assignment: Assignment, payload: Any, drawing: bytes | None = None, *, keep_drawing: bool = False
) -> dt.datetime:
    """Keep unfinished work and renew the lease; the time at which it was saved.

    Without a drawing the draft has none from now on, unless `keep_drawing`: then the one that it had stays.
    A draft of a change says in `payload["base_revision"]` which answer it changes. Raises StudyClosed; AnswerInvalid
    for what can never become an answer here; TrialTaken when the lease ran out and the place went to someone else;
    AnswerConflict when the trial was answered since.
    """
    _check_payload(payload)
    png = _check_drawing(assignment, drawing)
    with held(assignment) as row:
        if row.state == Assignment.State.OPEN:
            renew(row)
        else:
            _refuse_late(row, payload)
        draft, _ = Draft.objects.get_or_create(assignment=row)
        old = draft.file.name
        draft.payload = payload
        replaced = png is not None or not keep_drawing
        if replaced:
            draft.file = ""
        if png is not None:
            draft.file.save("draft.png", ContentFile(png), save=False)
        draft.save()
        if old and replaced:
            _delete_on_commit(draft.file.storage, old)
    return draft.saved


def _refuse_late(answered: Assignment, payload: dict[str, Any]) -> None:
    """A draft that began before the answer and arrives after it must not come back as newer work."""
    current = load(answered)
    if payload.get("base_revision") != current.revision:
        raise AnswerConflict(current)


def drop_draft(assignment: Assignment) -> None:
    """Forget the draft and its file. Call inside the transaction that makes it superfluous."""
    draft = Draft.objects.filter(assignment=assignment).first()
    if draft is None:
        return
    if draft.file:
        _delete_on_commit(draft.file.storage, str(draft.file.name))
    draft.delete()


class _PlaceLost(Exception):
    """The lease turned out to be lost: the person has to be locked first."""


@contextmanager
def held(assignment: Assignment) -> Iterator[Assignment]:
    """A transaction in which the assignment's row is locked and its place secured.

    A lost place is taken again when it is still free. Raises StudyClosed, TrialTaken.
    """
    person_first = assignment.state in LOST
    while True:
        try:
            with transaction.atomic():
                row = _locked(assignment, person_first=person_first)
                if row.state in LOST:
                    if not person_first:
                        raise _PlaceLost
                    if not reclaim(row):
                        raise TrialTaken
                yield row
                return
        except _PlaceLost:
            person_first = True


def _locked(assignment: Assignment, *, person_first: bool) -> Assignment:
    if person_first:
        # In the order of locks (assignment.py) the person comes first; only who lost their place needs it.
        Participant.objects.select_for_update(no_key=True).get(pk=assignment.participant_id)
    rows = Assignment.objects.select_related("trial__study", "trial__image", "participant")
    row = rows.select_for_update(of=("self",), no_key=True).get(pk=assignment.pk)
    if row.trial.study.state == Study.State.DRAFT and not row.participant.is_preview:
        raise StudyClosed(gettext("This study has not begun yet."))
    if row.trial.study.state == Study.State.CLOSED:
        raise StudyClosed
    if row.state == Assignment.State.SET_ASIDE:
        raise StudyClosed(gettext("Your part in this study has ended. Thank you for your help."))
    return row


def _delete_on_commit(storage: Storage, name: str) -> None:
    transaction.on_commit(lambda: storage.delete(name))


def _check_payload(payload: Any) -> None:
    if not isinstance(payload, dict):
        raise AnswerInvalid({"payload": gettext("A draft is an object of answers.")})
    if not fits(payload, MOST_DRAFT_BYTES):
        raise AnswerInvalid({"payload": gettext("A draft holds at most %d kB.") % (MOST_DRAFT_BYTES // 1024)})


def _check_drawing(assignment: Assignment, drawing: bytes | None) -> bytes | None:
    if not drawing:
        return None
    if not kind_of(assignment.trial.study).takes_drawing:
        raise AnswerInvalid({"drawing": gettext("Nothing is drawn in this study.")})
    image = assignment.trial.image
    try:
        return drawings.decode(drawing, (image.width, image.height)).png
    except drawings.DrawingRefused as error:
        raise AnswerInvalid({"drawing": str(error)}) from error
