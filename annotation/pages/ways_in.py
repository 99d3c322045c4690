"""Ways into a study by a link: an invitation, an open link, Prolific, and a guest's own link back.

A link is only looked at by GET, because programs that preview links do that too; whoever takes part presses a button.
Addresses that hold a token or a recruiting id are never sent on as a referrer, not even to this server.
"""

import re
import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from annotation import invitations
from annotation.entry import enter_guest, enter_with, participation
from annotation.errors import EntryRefused, StudyClosed
from annotation.models import Participant, Study
from annotation.pages.common import show, tell
from annotation.people import is_guest
from annotation.plan import default_plan
from annotation.texts import texts_of

BACKEND = "django.contrib.auth.backends.ModelBackend"
MOST_NICKNAME = 40
PROLIFIC = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")
_PROLIFIC_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Made with the page, so that a button pressed twice or a form sent again is one person.
_VISIT = re.compile(r"[0-9a-f]{32}")


def way_in(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Looked at by GET, entered by POST; what the domain refuses becomes a sentence."""

    @never_cache
    @require_http_methods(["GET", "HEAD", "POST"])
    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response = view(request, *args, **kwargs)
        except (EntryRefused, StudyClosed) as refusal:
            response = _refused(request, refusal.sentence)
        # Of the address only the host is told. Under "no-referrer" browsers would say "Origin: null" with the form,
        # and it would be refused as forged.
        response["Referrer-Policy"] = "strict-origin"
        return response

    return page


def _refused(request: HttpRequest, sentence: str, status: int = 200) -> HttpResponse:
    # Not an error of the server's: a status of 4xx would write the address, with its token, into the log.
    return tell(request, _("This way does not lead into a study"), sentence, status=status)


def _people(study: Study) -> dict[str, Any]:
    return (study.version.plan or default_plan())["people"]


def _account(request: HttpRequest) -> Any:
    """The visitor's account, if they are signed in with one; a guest of some study has none."""
    return request.user if request.user.is_authenticated and not is_guest(request.user) else None


def _door(request: HttpRequest, study: Study, **context: Any) -> HttpResponse:
    """The page before the study: what it is called, what is asked, one button."""
    texts = texts_of(study.version)
    shown = {
        "title": texts.title,
        "task": texts.task,
        "minutes": _people(study)["time_limit_minutes"],
        "most": MOST_NICKNAME,
        "begin": _("Begin"),
    }
    return show(request, "annotation/join.html", shown | context)


def _take_part(request: HttpRequest, person: Participant) -> HttpResponse:
    """On into the study, as the person whose part it is. Nobody gets into somebody's account by a link."""
    user = person.user
    if user is None or (user.pk != request.user.pk and not is_guest(user)):
        return redirect(f"{reverse('login')}?next={reverse('study', args=[person.study.uuid])}")
    if user.pk != request.user.pk:
        login(request, user, backend=BACKEND)
    return redirect("study", person.study.uuid)


def _nickname(request: HttpRequest) -> tuple[str, str]:
    """What the person wants to be called, and what is to be said about that."""
    name = " ".join(request.POST.get("nickname", "").replace("\x00", "").split())
    if not name:
        return name, _("Write a name to be greeted by. It need not be your own.")
    if len(name) > MOST_NICKNAME:
        return name, _("At most %d characters, please.") % MOST_NICKNAME
    return name, ""


@way_in
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """A link for one person; followed again, it leads back to the same part."""
    found = invitations.find(token)
    study, account = found.study, _account(request)
    asks = account is None and found.participant is None and _people(study)["nickname"]
    known = {"begin": _("Go on"), "back": True} if found.participant is not None else {}
    if request.method != "POST":
        if found.participant is None and study.state == Study.State.DRAFT:
            raise StudyClosed(_("This study has not begun yet."))
        if found.participant is None and study.state == Study.State.CLOSED:
            raise StudyClosed
        return _door(request, study, asks=asks, **known)
    nickname, wrong = _nickname(request) if asks else ("", "")
    if wrong:
        return _door(request, study, asks=True, nickname=nickname, wrong=wrong)
    return _take_part(request, invitations.accept(token, account, nickname=nickname))


@way_in
def open_link(request: HttpRequest, key: str) -> HttpResponse:
    """A link for everyone. One browser takes part once: whoever is signed in or was here before goes on."""
    study = get_object_or_404(Study.objects.select_related("current"), join_key=key)
    people = _people(study)
    here = participation(request.user, study)
    if here is not None:
        return redirect("study", study.uuid)
    if not people["open_link"]:
        raise EntryRefused(_("This link is not in use. Ask the person who gave it to you."))
    if study.state == Study.State.CLOSED:
        raise StudyClosed
    if study.state == Study.State.DRAFT:
        raise StudyClosed(_("This study has not begun yet."))
    asks = _account(request) is None and people["nickname"]
    visit = request.POST.get("visit", "")
    if not _VISIT.fullmatch(visit):
        visit = secrets.token_hex(16)
    if request.method != "POST":
        return _door(request, study, asks=asks, fields={"visit": visit})
    nickname, wrong = _nickname(request) if asks else ("", "")
    if wrong:
        return _door(request, study, asks=True, nickname=nickname, wrong=wrong, fields={"visit": visit})
    if request.user.is_authenticated:
        # A guest of another study stays the same visitor, so that both parts can be found again from home.
        return _take_part(request, enter_with(request.user, study, nickname=nickname))
    return _take_part(request, enter_guest(study, nickname=nickname, external_id=f"{Participant.VISIT}{visit}"))


@way_in
def prolific(request: HttpRequest, key: str) -> HttpResponse:
    """The address that Prolific sends people to, with their id: one id, one participation, whatever the browser."""
    study = get_object_or_404(Study.objects.select_related("current"), join_key=key)
    if not _people(study)["prolific"]:
        raise EntryRefused(_("This study does not take people from Prolific. Please return your submission there."))
    sent = request.POST if request.method == "POST" else request.GET
    ids = {name: sent.get(name, "") for name in PROLIFIC}
    if not ids["PROLIFIC_PID"]:
        sentence = _(
            "Your Prolific ID did not come along. Open the study from its page on Prolific once more, "
            "and do not shorten the address."
        )
        return _refused(request, sentence, status=400)
    if any(value and not _PROLIFIC_ID.fullmatch(value) for value in ids.values()):
        sentence = _(
            "The address does not hold a Prolific ID as we know it. Open the study from its page on Prolific once more."
        )
        return _refused(request, sentence, status=400)
    here = participation(request.user, study)
    if here is not None and here.external_id == ids["PROLIFIC_PID"]:
        return redirect("study", study.uuid)
    if request.method != "POST":
        account = _account(request)
        return _door(request, study, fields=ids, leaves=account.get_username() if account is not None else "")
    session = {name: ids[name] for name in ("STUDY_ID", "SESSION_ID") if ids[name]}
    return _take_part(request, enter_guest(study, external_id=ids["PROLIFIC_PID"], session=session))


@way_in
def come_back(request: HttpRequest, token: str) -> HttpResponse:
    """A guest's own link: the only way back for somebody without a password."""
    person = invitations.come_back(token)
    if person.user_id == request.user.pk:
        return redirect("study", person.study.uuid)
    if request.method != "POST":
        account = _account(request)
        leaves = account.get_username() if account is not None else ""
        return _door(request, person.study, begin=_("Go on"), back=True, called=person.nickname, leaves=leaves)
    return _take_part(request, person)
