"""Who people are: annotators, researchers, and the deletion of a person from a study."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import F

from annotation.models import Answer, AnswerRevision, Assignment, Draft, DrawnMap, Participant, Study, Trial
from mlcore.models import AuditEntry, HumanMapSet, SupervisionSet

ANNOTATORS, RESEARCHERS = "annotator", "researcher"


def ensure_groups(**_signal: Any) -> None:
    """The two groups exist. Called after every migration."""
    for name in (ANNOTATORS, RESEARCHERS):
        Group.objects.get_or_create(name=name)


def add_annotator(username: str, password: str | None = None) -> Any:
    """A person who may answer studies; an existing one of that name joins the group."""
    return _add(username, password, ANNOTATORS, is_staff=False)


def add_researcher(username: str, password: str | None = None) -> Any:
    """A person who may use the admin for what they own, and answer studies."""
    return _add(username, password, RESEARCHERS, is_staff=True)


@transaction.atomic
def _add(username: str, password: str | None, group: str, *, is_staff: bool) -> Any:
    users = get_user_model()
    user, _ = users.objects.get_or_create(username=username)
    if password is not None:
        user.set_password(password)
    user.is_staff = user.is_staff or is_staff
    user.save()
    user.groups.add(Group.objects.get_or_create(name=group)[0])
    return user


def may_answer(user: Any) -> bool:
    """Annotators and researchers answer studies; so may an administrator. Asked of the database once a request."""
    if not (user.is_authenticated and user.is_active):
        return False
    if user.is_superuser:
        return True
    if not hasattr(user, "_harmony_may_answer"):
        user._harmony_may_answer = user.groups.filter(name__in=(ANNOTATORS, RESEARCHERS)).exists()
    return user._harmony_may_answer


def may_manage(user: Any, study: Study) -> bool:
    """A study is managed by its owner and by administrators."""
    return bool(user.is_active and (user.is_superuser or (user.is_staff and study.owner_id == user.pk)))


@transaction.atomic
def forget(participant: Participant, actor: Any) -> None:
    """Delete a person from a study: identity, answers, drafts and files; their claims are given back.

    Supervision and sets of people's maps that rest on the study's answers stay, marked stale, because runs have read
    them.
    """
    person = Participant.objects.select_related("study").get(pk=participant.pk)
    study = person.study
    answers = person.assignments.filter(state=Assignment.State.ANSWERED).count()
    stale = [
        item.pk
        for item in SupervisionSet.objects.filter(image_set=study.image_set_id, stale=False).only("source", "spec")
        if str(study.uuid) in {str(item.source), *item.spec.get("ratings", []), *item.spec.get("drawings", [])}
    ]
    SupervisionSet.objects.filter(pk__in=stale).update(stale=True)
    drawn = [
        item.pk
        for item in HumanMapSet.objects.filter(image_set=study.image_set_id, stale=False).only("source", "spec")
        if str(study.uuid) in {str(item.source), *item.spec.get("drawings", [])}
    ]
    HumanMapSet.objects.filter(pk__in=drawn).update(stale=True)
    AuditEntry.write(actor, "participant.forget", study, after={"answers": answers})
    erase(person)


@transaction.atomic
def erase(participant: Participant) -> None:
    """Remove the row and everything below it; places that it held are free again. A guest's login goes with it."""
    person = Participant.objects.select_for_update(of=("self",)).get(pk=participant.pk)
    held = (Assignment.State.OPEN, Assignment.State.ANSWERED)
    for assignment in person.assignments.select_for_update().filter(state__in=held).order_by("trial_id"):
        if not person.is_preview:
            counted = Trial.objects.filter(pk=assignment.trial_id, claims_left__isnull=False)
            counted.update(claims_left=F("claims_left") + 1)
    _delete_files(person)
    user = person.user
    AnswerRevision.objects.filter(answer__assignment__participant=person).delete()
    Answer.objects.filter(assignment__participant=person).delete()
    person.delete()
    if user is not None and is_guest(user) and not user.participations.exists():
        user.delete()


def is_guest(user: Any) -> bool:
    """Someone who came by a link: a login without a password, a group or a name of their own."""
    return bool(user.pk) and user.username.startswith("guest-") and not user.has_usable_password()


def _delete_files(person: Participant) -> None:
    storage = DrawnMap._meta.get_field("file").storage  # type: ignore[union-attr]
    drafts = Draft.objects.filter(assignment__participant=person).exclude(file="")
    names = [str(name) for name in drafts.values_list("file", flat=True)]
    for answer in Answer.objects.filter(assignment__participant=person):
        # Every revision's drawing lies in the answer's own folder.
        folder = f"drawn/{answer.uuid}"
        if storage.exists(folder):
            names += [f"{folder}/{name}" for name in storage.listdir(folder)[1]]

    def delete() -> None:
        for name in names:
            storage.delete(name)

    transaction.on_commit(delete)
