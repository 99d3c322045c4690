"""One's own answers, to look at and to change."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotation import flow
from annotation.assignment import takes_trials
from annotation.pages.common import own_part, show
from annotation.pages.home import own
from annotation.studies import kind_of
from annotation.texts import texts_of

PER_PAGE = 48


@login_required
@require_safe
@never_cache
def study_review(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The person's answers, newest first; each leads to its trial, to be changed until the study closes."""
    person = own_part(request, uuid)
    if person is None:
        raise Http404
    study = person.study
    given = flow.answered(person).select_related("answer__drawn_map")
    page = Paginator(given.prefetch_related("answer__judgements__stimulus"), PER_PAGE).get_page(request.GET.get("page"))
    kind = kind_of(study)
    rows = [
        {
            "uuid": item.uuid,
            "when": item.answer.changed,
            "name": item.trial.context.get("class_name") or "",
            "said": kind.in_words(item),
        }
        for item in page
    ]
    context = {
        "title": texts_of(study.version).title,
        "study": study,
        "changeable": takes_trials(person),
        "may_go_on": takes_trials(person) and not person.outcome,
        "rows": rows,
        "page": page,
        **own(flow.progress(person)),
    }
    return show(request, "annotation/review.html", context, person=person)
