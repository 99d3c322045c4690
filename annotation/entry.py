"""How people come into a study: with an account, as guests, scripted, imported, or as researchers who look."""

import random
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import Count, Exists, OuterRef, Q
from django.utils.translation import gettext

from annotation.candidates import FREE
from annotation.errors import EntryRefused, StudyClosed
from annotation.models import Arm, Participant, Study, Trial, TrialList
from annotation.models.studies import RANDOM_KEY_BITS, Phase
from annotation.people import may_answer, may_manage
from annotation.plan import default_plan

# Offsets in the golden ratio's steps spread people evenly over the random order, however many come.
_GOLDEN = 0.6180339887498949
# Whoever ended so leaves their condition or list to the next person.
_LEFT = (
    Participant.Outcome.SCREENED_OUT,
    Participant.Outcome.DECLINED,
    Participant.Outcome.RETURNED,
    Participant.Outcome.TIMED_OUT,
)


def participation(user: Any, study: Study, *, preview: bool = False) -> Participant | None:
    """The person's part in the study, if they have one; with `preview` the one in which they only look."""
    kind = Q(kind=Participant.Kind.PREVIEW)
    found = Participant.objects.filter(kind if preview else ~kind, study=study, user=user.pk or 0)
    return found.select_related("study").first()


def enter(user: Any, study: Study) -> Participant:
    """The part of a person with an account, begun now if the study is live and open to accounts. Raises StudyClosed."""
    person = participation(user, study)
    if person is not None:
        return person
    if not may_answer(user):
        raise StudyClosed(gettext("You have not been asked to take part in studies. Ask the person who sent you here."))
    _refuse_unless_live(study)
    if not _people(study)["accounts"]:
        raise StudyClosed(gettext("This study is open to invited people only."))
    return begin(study, user=user)


def enter_with(user: Any, study: Study, **values: Any) -> Participant:
    """The part of a person who came by a link and is known here already. Raises StudyClosed."""
    person = participation(user, study)
    if person is not None:
        return person
    _refuse_unless_live(study)
    return begin(study, user=user, **values)


@transaction.atomic
def enter_guest(
    study: Study, *, nickname: str = "", external_id: str = "", session: dict[str, str] | None = None
) -> Participant:
    """The part of someone without an account, who gets a login of their own that has no password.

    One recruiting id, one participation: the same `external_id` comes back to the same part, whatever its end.
    Raises StudyClosed, EntryRefused.
    """
    if external_id:
        person = _recruited(study, external_id)
        if person is not None:
            return person
    _refuse_unless_live(study)
    if len(nickname.strip()) > 40:
        raise EntryRefused(gettext("Choose a name of at most 40 characters."))
    user = get_user_model().objects.create_user(username=f"guest-{secrets.token_hex(8)}")  # no password, no group
    try:
        with transaction.atomic():
            return begin(study, user=user, nickname=nickname.strip(), external_id=external_id, session=session or {})
    except IntegrityError:
        user.delete()
        person = _recruited(study, external_id) if external_id else None
        if person is None:
            raise
        return person


def _recruited(study: Study, external_id: str) -> Participant | None:
    found = Participant.objects.filter(study=study, external_id=external_id).select_related("study", "user")
    return found.first()


def enter_as(study: Study, pseudonym: str, kind: str, *, order_offset: int | None = None) -> Participant:
    """The part of someone without a login: simulated or imported. The same pseudonym comes back to the same part."""
    person = Participant.objects.filter(study=study, pseudonym=pseudonym, user=None).select_related("study").first()
    if person is not None:
        return person
    _refuse_unless_live(study)
    return begin(study, pseudonym=pseudonym, kind=kind, order_offset=order_offset, phase=Participant.Phase.MAIN)


def start_preview(user: Any, study: Study, *, arm: Arm | None = None) -> Participant:
    """A fresh look at the study as an annotator sees it; nothing of it counts. Raises EntryRefused."""
    if not may_manage(user, study):
        raise EntryRefused(gettext("Only who manages the study can look at it before it is live."))
    if study.state == Study.State.CLOSED:
        raise EntryRefused(gettext("The study is closed; there is nothing to look at any more."))
    end_preview(user, study)
    if arm is None and study.conditions == Study.Conditions.BETWEEN:
        # A further look may show another condition.
        arm = secrets.choice(list(study.arms.all()))
    return begin(study, user=user, kind=Participant.Kind.PREVIEW, arm=arm)


def end_preview(user: Any, study: Study) -> None:
    """Forget what was answered while looking."""
    from annotation.people import erase

    person = participation(user, study, preview=True)
    if person is not None:
        erase(person)


def _people(study: Study) -> dict[str, Any]:
    return (study.version.plan or default_plan())["people"]


def _refuse_unless_live(study: Study) -> None:
    if study.state == Study.State.DRAFT:
        raise StudyClosed(gettext("This study has not begun yet."))
    if study.state == Study.State.CLOSED:
        raise StudyClosed


def begin(study: Study, **values: Any) -> Participant:
    """The row. Two tabs that enter at once get the same part: the constraint decides, the loser reads what the winner
    wrote. Conditions and lists are given out under a lock on the study, so they stay balanced."""
    order_offset = values.pop("order_offset", None)
    for _ in range(5):
        named = {"pseudonym": f"P-{secrets.token_hex(4)}"} | values
        try:
            with transaction.atomic():
                locked = Study.objects.select_for_update(no_key=True).get(pk=study.pk)
                number = locked.participants.count()
                named["number"] = number
                named["order_offset"] = _offset(locked, number) if order_offset is None else order_offset
                kind = named.get("kind", Participant.Kind.HUMAN)
                if locked.conditions == Study.Conditions.BETWEEN and named.get("arm") is None:
                    named["arm"] = _arm_for(locked, kind, number)
                if locked.mode == Study.Mode.LISTS:
                    named["trial_list"] = _list_for(locked, kind, number)
                return Participant.objects.create(study=study, **named)
        except IntegrityError:
            if values.get("external_id"):
                raise
            same = {"user": values["user"]} if values.get("user") else {"pseudonym": named["pseudonym"], "user": None}
            person = (
                Participant.objects.filter(study=study, **same)
                .filter(kind=values.get("kind", Participant.Kind.HUMAN))
                .select_related("study")
                .first()
            )
            if person is not None:
                return person
    raise StudyClosed(gettext("No free pseudonym was found. Try again."))


def _offset(study: Study, number: int) -> int:
    start = random.Random(f"{study.seed}/{study.uuid}").random()
    return int((start + number * _GOLDEN) % 1.0 * 2**RANDOM_KEY_BITS)


def _taking_part(kind: str) -> Q:
    return Q(participants__kind=kind) & ~Q(participants__outcome__in=_LEFT)


def _arm_for(study: Study, kind: str, number: int) -> Arm | None:
    """The condition that the fewest have, among those that still have something to give."""
    free = Trial.objects.filter(FREE, study=study, phase=Phase.MAIN, arm=OuterRef("pk"))
    arms = study.arms.annotate(
        people=Count("participants", filter=_taking_part(kind), distinct=True), has_free=Exists(free)
    ).order_by("position")
    return _fewest(study, [arm for arm in arms if arm.has_free] or list(arms), number)


def _list_for(study: Study, kind: str, number: int) -> TrialList | None:
    lists = study.lists.annotate(people=Count("participants", filter=_taking_part(kind), distinct=True))
    return _fewest(study, list(lists.order_by("number")), number)


def _fewest(study: Study, rows: list[Any], number: int) -> Any:
    if not rows:
        return None
    least = min(row.people for row in rows)
    return random.Random(f"{study.seed}/{study.uuid}/{number}").choice([row for row in rows if row.people == least])
