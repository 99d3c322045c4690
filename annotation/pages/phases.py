"""The pages around the trials: consent, introduction, a further try, exit questions, and the end. Plain forms."""

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from annotation import flow
from annotation.assignment import takes_trials
from annotation.completion import give_back
from annotation.entry import enter
from annotation.errors import AnswerInvalid, EntryRefused, StudyClosed
from annotation.exit_answers import MOST_CHARACTERS, SCALE
from annotation.markup import render as markup
from annotation.models import Participant, Study
from annotation.navigation import address_of, return_address
from annotation.pages.common import own_part, show, standing_at, tell
from annotation.pages.ends import end_of
from annotation.pages.home import own
from annotation.plan import default_plan
from annotation.texts import texts_of

get_or_post = require_http_methods(["GET", "HEAD", "POST"])


@login_required
@require_safe
@never_cache
def study(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Enters the study and leads to where the person stands in it, or says why they cannot enter."""
    person = own_part(request, uuid)
    if person is None:
        try:
            person = enter(request.user, get_object_or_404(Study.objects.select_related("current"), uuid=uuid))
        except (StudyClosed, EntryRefused) as refusal:
            to_studies = [{"text": _("To my studies"), "url": reverse("home")}]
            return tell(request, _("This study is not open to you"), refusal.sentence, acts=to_studies)
    address = address_of(flow.next_step(person), person)
    return redirect(f"{address}?taken=1" if "taken" in request.GET else address)


def _go_on(person: Participant) -> HttpResponse:
    return redirect(address_of(flow.next_step(person), person))


def _prose(person: Participant, text: str) -> str:
    """A researcher's Markdown with the study's own pictures."""
    names = person.study.pictures.values_list("name", flat=True)
    return markup(text, {name: reverse("study-picture", args=[person.study.uuid, name]) for name in names})


@get_or_post
@standing_at("consent")
def consent(request: HttpRequest, person: Participant, step: flow.Step) -> HttpResponse:
    if request.method == "POST" and request.POST.get("consent") in ("yes", "no"):
        flow.give_consent(person, request.POST["consent"] == "yes")
        return _go_on(person)
    texts = texts_of(person.study.version)
    context = {
        "title": texts.title,
        "text": _prose(person, texts.consent),
        "again": person.consent_at is not None,
    }
    return show(request, "annotation/consent.html", context, person=person)


@get_or_post
@standing_at("introduction")
def introduction(request: HttpRequest, person: Participant, step: flow.Step) -> HttpResponse:
    if request.method == "POST":
        flow.end_introduction(person)
        return _go_on(person)
    texts = texts_of(person.study.version)
    pages = texts.introduction
    asked = request.GET.get("page", "")
    number = min(max(int(asked), 1), len(pages)) if asked.isdecimal() and len(asked) < 6 else 1
    context = {
        "title": texts.title,
        "heading": pages[number - 1]["title"] or texts.title,
        "text": _prose(person, pages[number - 1]["text"]),
        "number": number,
        "of": len(pages),
        "before": number - 1,
        "after": number + 1 if number < len(pages) else None,
    }
    return show(request, "annotation/introduction.html", context, person=person)


@get_or_post
@standing_at("again")
def again(request: HttpRequest, person: Participant, step: flow.Step) -> HttpResponse:
    if request.method == "POST":
        flow.try_again(person)
        return _go_on(person)
    version = person.study.version
    plan = (version.plan or default_plan())["qualification"]
    right, of = flow.qualification_score(person)
    context = {
        "title": texts_of(version).title,
        "right": right,
        "of": of,
        "needed": _least(plan["pass_mark"], of),
        "left": plan["tries"] - person.tries - 1,
    }
    return show(request, "annotation/again.html", context, person=person)


def _least(mark: float, of: int) -> int:
    """The fewest right answers of so many that reach the mark."""
    return next(right for right in range(of + 1) if right >= mark * of - 1e-9)


@get_or_post
@standing_at("exit")
def exit_questions(request: HttpRequest, person: Participant, step: flow.Step) -> HttpResponse:
    errors: dict[str, str] = {}
    given: dict[str, str] = request.POST.dict() if request.method == "POST" else {}
    if request.method == "POST":
        try:
            flow.answer_exit(person, given)
            return _go_on(person)
        except AnswerInvalid as refusal:
            errors = refusal.errors
        except StudyClosed:
            return _go_on(person)
    texts = texts_of(person.study.version)
    context = {
        "title": texts.title,
        "questions": [_asked(question, given, errors) for question in texts.exit],
        "errors": errors,
        "any_required": any(question["required"] for question in texts.exit),
        "most": MOST_CHARACTERS,
    }
    return show(request, "annotation/exit.html", context, person=person)


def _asked(question: dict[str, Any], given: dict[str, str], errors: dict[str, str]) -> dict[str, Any]:
    """The question as the form shows it: `options` are (value, label); what was typed stays."""
    name, kind = question["name"], question["kind"]
    options: list[tuple[str, str]] = []
    if kind == "choice":
        options = list(zip(question["choices"], question["labels"], strict=True))
    elif kind == "scale":
        options = [(str(value), str(value)) for value in range(SCALE[0], SCALE[1] + 1)]
    elif kind == "truth":
        options = [("yes", _("Yes")), ("no", _("No"))]
    return {
        "name": name,
        "kind": kind,
        "text": question["question"],
        "required": question["required"],
        "options": options,
        "value": given.get(name, ""),
        "error": errors.get(name, ""),
    }


@require_safe
@standing_at("wait", "done", "closed")
def end(request: HttpRequest, person: Participant, step: flow.Step) -> HttpResponse:
    """How it ended, with the completion code and the way back to where the person came from."""
    if step.kind == "done" and not person.outcome:
        # The step may have ended the participation at this moment.
        person.refresh_from_db(fields=["outcome", "phase", "finished", "completion_code"])
    progress = flow.progress(person)
    reached = end_of(person, step.kind, progress.answered)
    completed = person.outcome == Participant.Outcome.COMPLETED
    context = {
        "end": reached,
        "text": _prose(person, texts_of(person.study.version).completion_text) if completed else "",
        "code": person.completion_code,
        "return_to": return_address(person),
        "recruited": person.is_recruited,
        "may_finish": step.kind == "wait" and progress.answered > 0,
        "may_change": takes_trials(person) and progress.answered > 0 and (completed or not person.outcome),
        "study": person.study,
        **own(progress),
    }
    return show(request, "annotation/end.html", context, person=person)


@get_or_post
@standing_at()
def stop(request: HttpRequest, person: Participant, step: flow.Step) -> HttpResponse:
    """Asks once more, then gives the person's place back."""
    if step.kind in ("done", "closed"):
        return redirect(address_of(step, person))
    if request.method == "POST":
        give_back(person)
        return redirect("study-end", person.study.uuid)
    replaced = (person.study.version.plan or default_plan())["replace"]
    context = {
        "title": texts_of(person.study.version).title,
        "study": person.study,
        "set_aside": Participant.Outcome.RETURNED in replaced,
        "recruited": person.is_recruited,
    }
    return show(request, "annotation/stop.html", context, person=person)


@require_http_methods(["POST"])
@standing_at("wait")
def finish(request: HttpRequest, person: Participant, step: flow.Step) -> HttpResponse:
    """Ends the waiting for trials that others hold."""
    flow.finish_early(person)
    return _go_on(person)
