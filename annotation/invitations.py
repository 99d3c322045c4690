"""Links for one person each. The address carries a signature, so that nothing secret lies in the database."""

import datetime as dt
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from annotation.entry import enter_guest, enter_with
from annotation.errors import EntryRefused, StudyRefused
from annotation.models import Invitation, Participant, Study
from annotation.people import is_guest
from mlcore.models import AuditEntry

MOST = 5000
_NOT_VALID = _("This link does not lead to a study. Check that it was copied whole, or ask the person who sent it.")


def _signer(purpose: str) -> Signer:
    return Signer(salt=f"annotation.invitations.{purpose}", sep="~")


def token(invitation: Invitation) -> str:
    """What stands in the address of an invitation."""
    return _signer("join").sign(invitation.uuid.hex)


def return_token(participant: Participant) -> str:
    """What stands in a guest's own address to come back by."""
    return _signer("back").sign(participant.uuid.hex)


@transaction.atomic
def invite(study: Study, actor: Any, labels: Iterable[str], expires: dt.datetime | None = None) -> list[Invitation]:
    """One link for each label; a label is for the researcher's own list and may be empty. Raises StudyRefused."""
    names = [str(label).strip() for label in labels]
    if not 1 <= len(names) <= MOST:
        raise StudyRefused(f"Make 1 to {MOST} links at once.")
    if any(len(name) > 120 for name in names):
        raise StudyRefused("A label has at most 120 characters.")
    if study.state == Study.State.CLOSED:
        raise StudyRefused(f"“{study}” is closed: nobody can be invited any more.")
    made = Invitation.objects.bulk_create(Invitation(study=study, label=name, expires=expires) for name in names)
    AuditEntry.write(actor, "study.invite", study, after={"invitations": len(made)})
    return made


@transaction.atomic
def revoke(invitation: Invitation, actor: Any) -> None:
    """The link leads nowhere any more; who came by it already stays."""
    row = Invitation.objects.select_for_update().get(pk=invitation.pk)
    if not row.revoked:
        row.revoked = True
        row.save(update_fields=["revoked"])
        AuditEntry.write(actor, "study.revoke_invitation", row.study, after={"invitation": str(row.uuid)})


def find(signed: str) -> Invitation:
    """The invitation that an address names. Raises EntryRefused with a sentence for the person who came."""
    try:
        name = UUID(_signer("join").unsign(signed))
    except (BadSignature, ValueError):
        raise EntryRefused(_NOT_VALID) from None
    found = Invitation.objects.select_related("study", "participant__user").filter(uuid=name).first()
    if found is None or (found.revoked and found.participant is None):
        raise EntryRefused(_("This invitation has been taken back. Ask the person who sent it."))
    if found.participant is None and found.expires is not None and found.expires < timezone.now():
        raise EntryRefused(_("This invitation has run out. Ask the person who sent it for a new one."))
    return found


@transaction.atomic
def accept(signed: str, user: Any = None, *, nickname: str = "") -> Participant:
    """The part of the person who follows the link: begun now, or the one that was begun by it.

    `user`: an account that is signed in; then it takes part. Raises EntryRefused, StudyClosed.
    """
    invitation = Invitation.objects.select_for_update().get(pk=find(signed).pk)
    if invitation.participant_id is not None:
        person = Participant.objects.select_related("study", "user").get(pk=invitation.participant_id)
        if user is not None and person.user_id != user.pk and not _is_guest(person):
            raise EntryRefused(_("Someone else has used this invitation. Each one is for one person."))
        return person
    if user is not None:
        person = enter_with(user, invitation.study)
        if Invitation.objects.filter(participant=person).exists():
            return person  # a second invitation of the same person stays free
    else:
        person = enter_guest(invitation.study, nickname=nickname)
    invitation.participant = person
    invitation.save(update_fields=["participant"])
    return person


def _is_guest(person: Participant) -> bool:
    return person.user is not None and is_guest(person.user)


def come_back(signed: str) -> Participant:
    """The part of the guest whose own address this is. Raises EntryRefused."""
    try:
        name = UUID(_signer("back").unsign(signed))
    except (BadSignature, ValueError):
        raise EntryRefused(_NOT_VALID) from None
    person = Participant.objects.select_related("study", "user").filter(uuid=name).first()
    if person is None or not _is_guest(person):
        raise EntryRefused(_NOT_VALID)
    return person
