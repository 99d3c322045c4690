"""The page of a trial, whatever its kind: the kind says what is shown and asked, this says everything around it."""

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import Prefetch, Q, prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotation import answers, flow
from annotation.api.access import own_assignment
from annotation.api.pictures import canvas_size
from annotation.invitations import return_token
from annotation.models import Assignment, Stimulus
from annotation.pages.common import show
from annotation.pages.home import own
from annotation.people import is_guest
from annotation.studies import kind_of
from annotation.texts import texts_of
from mlcore.models import Explanation


@login_required
@require_safe
@never_cache
def trial(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The trial in hand, or an own answer that may still be changed; every other one leads to where the person is."""
    assignment = own_assignment(request, uuid, "participant__consent_version", "draft")
    person = assignment.participant
    if not (flow.in_hand(assignment) or flow.may_change(assignment)):
        return redirect("study", person.study.uuid)
    kind, texts = kind_of(person.study), texts_of(person.study.version)
    stimuli = Stimulus.objects.select_related("explanation").order_by("slot")
    prefetch_related_objects([assignment.trial], Prefetch("stimuli", queryset=stimuli))
    page = kind.page_context(assignment, texts.settings)
    for question in page.get("questions", ()):
        if question["kind"] == "scale":
            question["values"] = range(question["from"], question["to"] + 1)
    progress = flow.progress(person)
    context = {
        "title": texts.title,
        "task": texts.task,
        "instruction": assignment.trial.context.get("instruction", ""),
        "phase": progress.phase,
        "page": page,
        "single": len(assignment.order) == 1,
        "plates": 1 + len(assignment.order),
        "trial": _for_browser(request, assignment, page, progress),
        **own(progress),
    }
    return show(request, kind.template, context, person=person)


def _for_browser(
    request: HttpRequest, assignment: Assignment, page: dict[str, Any], progress: flow.Progress
) -> dict[str, Any]:
    """What the page's modules need to know; JSON in the page, so nothing of a condition stands in it."""
    image, person = assignment.trial.image, assignment.participant
    width, height = canvas_size(image)
    answered = assignment.state == Assignment.State.ANSWERED
    current = answers.load(assignment).as_dict() if answered else None
    draft = answers.load_draft(assignment) if getattr(assignment, "draft", None) else None
    urls = {
        "answer": reverse("api-answer", args=[assignment.uuid]),
        "draft": reverse("api-draft", args=[assignment.uuid]),
        "ahead": reverse("api-ahead", args=[assignment.uuid]),
        "picture": reverse("trial-picture", args=[assignment.trial.uuid]),
        "maps": _maps(assignment),
        "study": reverse("study", args=[person.study.uuid]),
        "back": reverse("trial-back", args=[assignment.uuid]) if progress.answered else None,
        "login": _sign_in(request, assignment),
    }
    return {
        "uuid": str(assignment.uuid),
        "participant": str(person.uuid),
        "phase": progress.phase,
        "instruction": assignment.trial.context.get("instruction", ""),
        "preview": person.is_preview,
        "image": {"width": image.width, "height": image.height},
        "canvas": {"width": width, "height": height},
        "revision": current["revision"] if current else None,
        "current": current,
        "draft": draft.as_dict() if draft else None,
        "taken": "taken" in request.GET,
        # Settings of the view; whatever a kind's page needs beyond that stands in its template.
        "page": {name: value for name, value in page.items() if isinstance(value, str | int | float | bool)},
        "urls": urls | page.get("urls", {}),
    }


def _maps(assignment: Assignment) -> list[str | None]:
    """Addresses of the maps by their random names, in the order in which this person sees them."""
    names = {
        stimulus.slot: stimulus.picture
        for stimulus in assignment.trial.stimuli.all()
        if stimulus.explanation is not None and stimulus.explanation.payload == Explanation.Payload.MAP
    }
    return [reverse("stimulus-picture", args=[names[slot]]) if slot in names else None for slot in assignment.order]


def _sign_in(request: HttpRequest, assignment: Assignment) -> str:
    """Where somebody signs in again, to go on; guests, who have no password, by their own link."""
    if is_guest(request.user):
        return reverse("come-back", args=[return_token(assignment.participant)])
    return f"{reverse('login')}?next={reverse('trial', args=[assignment.uuid])}"


@login_required
@require_safe
@never_cache
def back(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Leads to the person's answer before this one, or to where they are if there is none.

    An address of its own, so that the page of a trial need not look for it.
    """
    assignment = own_assignment(request, uuid)
    earlier = flow.answered(assignment.participant).exclude(pk=assignment.pk)
    if assignment.answered is not None:
        earlier = earlier.filter(
            Q(answered__lt=assignment.answered) | Q(answered=assignment.answered, pk__lt=assignment.pk)
        )
    before = earlier.first()
    if before is None:
        return redirect("study", assignment.participant.study.uuid)
    return redirect("trial", before.uuid)
