"""The sign-in page and the home page: a card a study."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotation import flow
from annotation.api.words import time_left
from annotation.invitations import return_token
from annotation.pages.common import show
from annotation.people import is_guest
from annotation.texts import texts_of


class SignIn(LoginView):
    template_name = "annotation/login.html"
    redirect_authenticated_user = True


@login_required
@require_safe
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    guest = is_guest(request.user)
    cards = [_card(request, card, guest) for card in flow.studies_for(request.user)]
    mine = [card.get("participant") for card in cards]
    context = {
        "open": [card for card in cards if card["action"] in ("start", "continue")],
        "over": [card for card in cards if card["action"] not in ("start", "continue")],
    }
    return show(request, "annotation/home.html", context, person=next(iter(mine), None) if guest else None)


def _card(request: HttpRequest, card: flow.StudyCard, guest: bool) -> dict[str, Any]:
    person = card.participant
    shown = {
        "study": card.study,
        "version": card.version,
        "texts": texts_of(card.version),
        "action": card.action,
        "participant": person,
        **own(card.progress),
    }
    if guest and person is not None:
        # The only way back for somebody without a password.
        shown["back"] = request.build_absolute_uri(reverse("come-back", args=[return_token(person)]))
        shown["may_stop"] = not person.outcome and card.action != "closed"
    return shown


def own(progress: flow.Progress) -> dict[str, Any]:
    return {"progress": progress, "time_left": time_left(progress.seconds_left)}
