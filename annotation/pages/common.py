"""What all pages of a study share: whose part it is, where that person stands, what every template is told."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from annotation.api.words import words
from annotation.flow import Step, next_step
from annotation.models import Participant, Study
from annotation.navigation import address_of
from annotation.people import is_guest
from annotation.waiting import waits

# In the session of a researcher: the study that they look at as an annotator would.
PREVIEW = "preview_of"

View = Callable[[HttpRequest, Participant, Step], HttpResponse]


def own_part(request: HttpRequest, uuid: UUID) -> Participant | None:
    """The part that the visitor has in the study: the one that only looks, while they preview it. In one query."""
    parts = Participant.objects.filter(study__uuid=uuid, user=request.user.pk or 0).select_related(
        "study__current", "consent_version"
    )
    looks = request.session.get(PREVIEW) == str(uuid)
    # At most two: the own one, and a look at the study.
    found = sorted(parts, key=lambda part: part.is_preview != looks)
    return found[0] if found and (looks or not found[0].is_preview) else None


def standing_at(*kinds: str) -> Callable[[View], Callable[..., HttpResponse]]:
    """A page of the way through a study, for who stands at one of these steps (at any, if none is named).

    From anywhere else it leads to where the person is, whatever was sent along: a form that is posted twice, or from
    a page that was left open, does nothing the second time.
    """

    def decorate(view: View) -> Callable[..., HttpResponse]:
        @login_required
        @never_cache
        @wraps(view)
        def page(request: HttpRequest, uuid: UUID) -> HttpResponse:
            person = own_part(request, uuid)
            if person is None:
                return redirect("study", get_object_or_404(Study, uuid=uuid).uuid)
            waiting = "wait" in kinds and request.method != "POST" and waits(person)
            step = Step("wait") if waiting else next_step(person)
            if kinds and step.kind not in kinds:
                return redirect(address_of(step, person))
            return view(request, person, step)

        return page

    return decorate


def show(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    *,
    person: Participant | None = None,
    status: int = 200,
) -> HttpResponse:
    """Renders a page with what every frame needs: `who` is what the visitor is called in the top bar."""
    if is_guest(request.user):
        nickname = person.nickname if person is not None else ""
        context = {"guest": True, "who": nickname or _("Guest")} | context
    context = {
        "words": words(),
        "preview": person.study if person is not None and person.is_preview else None,
    } | context
    return render(request, template, context, status=status)


def tell(
    request: HttpRequest,
    heading: str,
    sentence: str,
    *,
    acts: Sequence[dict[str, str]] = (),
    status: int = 200,
) -> HttpResponse:
    """One thought on a page of its own."""
    context = {"heading": heading, "sentence": sentence, "icon": "closed", "acts": acts}
    return show(request, "annotation/message.html", context, status=status)
