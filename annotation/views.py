"""The annotators' pages. A view reads the request, asks the domain and renders; it writes no rows."""

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotation import answers, flow
from annotation.api.access import own_assignment
from annotation.api.pictures import canvas_size
from annotation.api.words import in_words, time_left, words
from annotation.errors import StudyClosed
from annotation.models import Assignment, Participant, Study
from annotation.studies import kind_of

PER_PAGE = 48


class SignIn(LoginView):
    template_name = "annotation/login.html"
    redirect_authenticated_user = True


@login_required
@require_safe
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    cards = [
        {"study": card.study, "version": card.version, "action": card.action, **_own(card.progress)}
        for card in flow.studies_for(request.user)
    ]
    context = {
        "open": [card for card in cards if card["action"] in ("start", "continue")],
        "over": [card for card in cards if card["action"] not in ("start", "continue")],
        "words": words(),
    }
    return render(request, "annotation/home.html", context)


@login_required
@require_safe
@never_cache
def study(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Enters the study and goes to the next trial, or says why there is none."""
    try:
        participant = flow.enter(request.user, get_object_or_404(Study, uuid=uuid))
    except StudyClosed as refusal:
        return _refused(request, refusal)
    step = flow.next_step(participant)
    if step.assignment is not None:
        address = reverse("trial", args=[step.assignment.uuid])
        return redirect(f"{address}?taken=1" if "taken" in request.GET else address)
    return _end(request, participant, step.kind)


def _refused(request: HttpRequest, refusal: StudyClosed) -> HttpResponse:
    context = {
        "heading": _("This study is not open to you"),
        "sentence": refusal.sentence,
        "icon": "closed",
        "acts": [{"text": _("To my studies"), "url": reverse("home")}],
        "words": words(),
    }
    return render(request, "annotation/message.html", context)


def _own(progress: flow.Progress) -> dict[str, Any]:
    return {"progress": progress, "time_left": time_left(progress.seconds_left)}


def _end(request: HttpRequest, participant: Participant, kind: str) -> HttpResponse:
    address = reverse("study-review", args=[participant.study.uuid])
    progress = flow.progress(participant)
    to_studies = {"text": _("To my studies"), "url": reverse("home")}
    look_again = {"text": _("Look at my answers"), "url": address}
    pages: dict[str, dict[str, Any]] = {
        "done": {
            "heading": _("That was the last one. Thank you."),
            "sentence": _("All your answers are saved. You can change them until the study closes."),
            "icon": "check", "tone": "good", "acts": [to_studies, look_again],
        },
        "none": {
            "heading": _("Nothing is left to do here"),
            "sentence": _("Others have answered everything in this study already. Thank you for looking in."),
            "icon": "check", "acts": [to_studies],
        },
        "closed": {
            "heading": _("This study is closed"),
            "sentence": _("No more answers are taken. Everything that was saved is kept. Thank you for your help."),
            "icon": "closed", "acts": [to_studies],
        },
        "wait": {
            "heading": _("Nothing is left for you just now"),
            "sentence": _("Others are working on the remaining ones. Some may come back: look in again later."),
            "icon": "wait", "acts": [to_studies, look_again] if progress.answered else [to_studies],
        },
    }  # fmt: skip
    page = pages[kind if progress.answered or kind != "done" else "none"]
    context = page | {"progress": progress, "code": participant.completion_code, "words": words()}
    return render(request, "annotation/message.html", context)


@login_required
@require_safe
@never_cache
def trial(request: HttpRequest, uuid: UUID) -> HttpResponse:
    assignment = own_assignment(request, uuid)
    participant = assignment.participant
    if participant.study.state != Study.State.LIVE:
        return _end(request, participant, "closed")
    kind, version = kind_of(participant.study), participant.study.version
    page = kind.page_context(assignment, version.settings)
    for question in page.get("questions", ()):
        if question["kind"] == "scale":
            question["values"] = range(question["from"], question["to"] + 1)
    context = {
        "title": version.title,
        "task": version.task,
        "page": page,
        "single": len(assignment.order) == 1,
        "plates": 1 + len(assignment.order),
        "trial": _for_browser(request, assignment, page),
        "words": words(),
        **_own(flow.progress(participant)),
    }
    return render(request, kind.template, context)


def _for_browser(request: HttpRequest, assignment: Assignment, page: dict[str, Any]) -> dict[str, Any]:
    """What the page's modules need to know; JSON in the page, so nothing of a condition stands in it."""
    image = assignment.trial.image
    width, height = canvas_size(image)
    current, draft = answers.load(assignment), answers.load_draft(assignment)
    address = reverse("trial", args=[assignment.uuid])
    return {
        "uuid": str(assignment.uuid),
        "image": {"width": image.width, "height": image.height},
        "canvas": {"width": width, "height": height},
        "revision": current.revision or None,
        "current": current.as_dict() if current.revision else None,
        "draft": draft.as_dict() if draft else None,
        "taken": "taken" in request.GET,
        "page": {name: page[name] for name in ("view", "colormap", "opacity") if name in page},
        "urls": {
            "answer": reverse("api-answer", args=[assignment.uuid]),
            "draft": reverse("api-draft", args=[assignment.uuid]),
            "picture": reverse("trial-picture", args=[assignment.uuid]),
            "maps": [reverse("trial-map", args=[assignment.uuid, place]) for place in range(len(assignment.order))],
            "study": reverse("study", args=[assignment.participant.study.uuid]),
            "login": f"{reverse('login')}?next={address}",
        },
    }


@login_required
@require_safe
@never_cache
def study_review(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """One's own answers, newest first; each leads to its trial, to be changed until the study closes."""
    participant = get_object_or_404(Participant.objects.select_related("study"), study__uuid=uuid, user=request.user)
    given = flow.answered(participant).select_related("answer__drawn_map")
    page = Paginator(given.prefetch_related("answer__judgements__stimulus"), PER_PAGE).get_page(request.GET.get("page"))
    rows = [
        {
            "uuid": item.uuid,
            "when": item.answer.changed,
            "name": item.trial.context.get("class_name") or "",
            "said": in_words(item),
        }
        for item in page
    ]
    context = {
        "title": participant.study.version.title,
        "study": participant.study,
        "changeable": participant.study.state == Study.State.LIVE,
        "rows": rows,
        "page": page,
        "words": words(),
        **_own(flow.progress(participant)),
    }
    return render(request, "annotation/review.html", context)
