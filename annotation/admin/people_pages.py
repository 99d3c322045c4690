"""People of a study: invitations, links for recruiting, deletion of a person, and giving a place back."""

import csv
import io
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from annotation import invitations, people, places
from annotation.errors import StudyRefused
from annotation.models import Invitation, Participant, Study
from annotation.plan import default_plan
from mlcore.exchange.csv_cells import csv_cell

SHOWN = 100
PROLIFIC_QUERY = (
    "?PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"  # Prolific fills these in
)


@dataclass(frozen=True)
class Links:
    """Addresses to hand out; empty where the study does not take people that way."""

    open_link: str
    prolific: str
    codes: dict[str, str]
    return_url: str


def links_of(request: HttpRequest, study: Study) -> Links:
    plan = study.version.plan or default_plan()
    open_link = request.build_absolute_uri(reverse("join-open", args=[study.join_key]))
    prolific = request.build_absolute_uri(reverse("join-prolific", args=[study.join_key])) + PROLIFIC_QUERY
    return Links(
        open_link if plan["people"]["open_link"] else "",
        prolific if plan["people"]["prolific"] else "",
        plan["completion"]["codes"],
        plan["completion"]["return_url"],
    )


class PeoplePages:
    """The part of the study's admin about the people who take part."""

    render: Any
    seen: Any

    def people_routes(self) -> tuple[tuple[str, Any, str], ...]:
        return (
            ("<int:pk>/invitations/", self.invitations_page, "invitations"),
            ("<int:pk>/invitations/csv/", self.invitations_csv, "invitations_csv"),
            ("<int:pk>/invitations/<int:invitation>/revoke/", require_POST(self.revoke), "revoke"),
            ("<int:pk>/people/<int:person>/forget/", self.forget_page, "forget"),
            ("<int:pk>/people/<int:person>/give-back/", require_POST(self.give_back), "give_back"),
        )

    def invitations_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The links of a study; with POST, further ones: so many, or one for each label."""
        study = self.seen(request, pk)
        values = request.POST.dict()
        errors: dict[str, str] = {}
        if request.method == "POST":
            labels, days = _asked_for(values, errors)
            if not errors:
                expires = timezone.now() + timedelta(days=days) if days else None
                try:
                    made = invitations.invite(study, request.user, labels, expires)
                except StudyRefused as refused:
                    errors["number"] = refused.sentence
                else:
                    messages.success(request, f"{len(made)} link{'s are' if len(made) != 1 else ' is'} made.")
                    return _back(study)
        page = Paginator(study.invitations.select_related("participant").order_by("-pk"), SHOWN).get_page(
            request.GET.get("page", 1)
        )
        rows: list[Any] = list(page.object_list)
        for row in rows:
            row.link = _address(request, row)
            row.state = _state(row)
        page.object_list = rows
        return self.render(
            request, "admin/harmony/study_invitations.html", obj=study, title=f"Invitations to “{study}”", study=study,
            page=page, values=values, errors=errors, links=links_of(request, study), status=422 if errors else 200,
        )  # fmt: skip

    def invitations_csv(self, request: HttpRequest, pk: int) -> HttpResponse:
        """All links with their labels: for a mail merge."""
        study = self.seen(request, pk)
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(["label", "link", "state", "expires"])
        for row in study.invitations.select_related("participant").order_by("pk"):
            expires = row.expires.isoformat() if row.expires else ""
            writer.writerow([csv_cell(row.label), _address(request, row), _state(row), expires])
        response = HttpResponse(table.getvalue(), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="invitations-{str(study.uuid)[:8]}.csv"'
        response["Cache-Control"] = "no-store"
        return response

    def revoke(self, request: HttpRequest, pk: int, invitation: int) -> HttpResponse:
        study = self.seen(request, pk)
        invitations.revoke(get_object_or_404(study.invitations, pk=invitation), request.user)
        messages.success(request, "The link leads nowhere any more.")
        return _back(study)

    def forget_page(self, request: HttpRequest, pk: int, person: int) -> HttpResponse:
        """Asks once more what will be gone; with POST, it is gone."""
        study = self.seen(request, pk)
        row = _person(study, person)
        if request.method == "POST":
            name = row.pseudonym
            people.forget(row, request.user)
            messages.success(request, f"{name} is deleted, with all answers. Their places are free again.")
            return HttpResponseRedirect(reverse("admin:annotation_study_change", args=[pk]))
        answers = row.assignments.filter(state__in=("answered", "set_aside")).count()
        return self.render(
            request, "admin/harmony/study_forget.html", obj=study, title=f"Delete {row.pseudonym}", study=study,
            person=row, answers=answers,
        )  # fmt: skip

    def give_back(self, request: HttpRequest, pk: int, person: int) -> HttpResponse:
        """Ends a participation; what it held goes to other people, as the study's rules say."""
        study = self.seen(request, pk)
        row = _person(study, person)
        try:
            places.take_back(row, request.user)
        except StudyRefused as refused:
            messages.error(request, refused.sentence)
        else:
            messages.success(request, f"{row.pseudonym}’s place goes to someone else.")
        return HttpResponseRedirect(reverse("admin:annotation_study_change", args=[pk]))


def _person(study: Study, pk: int) -> Participant:
    rows = study.participants.exclude(kind=Participant.Kind.PREVIEW).select_related("arm", "study")
    return get_object_or_404(rows, pk=pk)


def _asked_for(values: dict[str, str], errors: dict[str, str]) -> tuple[list[str], int]:
    labels = [kept for found in values.get("labels", "").splitlines() if (kept := found.strip())]
    number, days = values.get("number", "").strip(), values.get("days", "").strip()
    if not labels:
        if not number.isdigit() or not 1 <= int(number) <= invitations.MOST:
            errors["number"] = f"A whole number from 1 to {invitations.MOST}, or labels beside it."
        else:
            labels = [""] * int(number)
    elif any(len(label) > 120 for label in labels):
        errors["labels"] = "A label has at most 120 characters."
    elif len(labels) > invitations.MOST:
        errors["labels"] = f"At most {invitations.MOST} at once."
    if days and (not days.isdigit() or not 1 <= int(days) <= 3650):
        errors["days"] = "A whole number of days from 1 to 3650, or empty."
    return labels, int(days) if days.isdigit() else 0


def _address(request: HttpRequest, row: Invitation) -> str:
    return request.build_absolute_uri(reverse("join-invitation", args=[invitations.token(row)]))


def _state(row: Invitation) -> str:
    if row.participant_id is not None:
        return "used"
    if row.revoked:
        return "revoked"
    return "expired" if row.expires is not None and row.expires < timezone.now() else "free"


def _back(study: Study) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:annotation_study_invitations", args=[study.pk]))
