"""Studies: the list, the page of one study, publishing, looking, closing and exporting."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST
from unfold.decorators import display

from annotation import publishing
from annotation.admin import mending, results, study_page
from annotation.admin.analysis_pages import VIEWS, AnalysisPages
from annotation.admin.builder_pages import BuilderPages
from annotation.admin.import_decisions import DecisionPages
from annotation.admin.loop_pages import LoopPages
from annotation.admin.pair_pages import PairPages, is_of_pairs
from annotation.admin.people_pages import PeoplePages, links_of
from annotation.admin.sample_form import design_of, sample_view
from annotation.admin.trials_page import TrialPages
from annotation.errors import StudyRefused
from annotation.exchange.export import csv_lines, json_pieces, people_csv_lines
from annotation.looking import record_look
from annotation.models import Participant, Study
from annotation.plan import default_plan
from annotation.studies import KINDS, kind_of
from harmony.researcher import DomainAdmin, owned
from mlcore.models import SupervisionSet

TEACHES = ("reasonability", "map_drawing")  # kinds whose answers become supervision
CSV = "text/csv; charset=utf-8"
# form → (its pieces, content type, name of the file)
EXPORTS = {
    "csv": (csv_lines, CSV, "study-{}.csv"),
    "json": (json_pieces, "application/json", "study-{}.json"),
    "people": (people_csv_lines, CSV, "people-{}.csv"),
}


@admin.register(Study)
class StudyAdmin(
    BuilderPages, TrialPages, PeoplePages, LoopPages, PairPages, AnalysisPages, DecisionPages, DomainAdmin
):
    list_display = (
        "name",
        "kind_title",
        "shown_state",
        "image_set",
        "trial_count",
        "answer_count",
        "owner",
        "published",
    )
    list_select_related = ("image_set", "owner")
    list_filter = ("state", "kind")
    search_fields = ("name",)
    head_links = (
        ("Publish a study", "admin:annotation_study_create", "group"),
        ("Import decisions", "admin:annotation_study_decisions", "upload"),
    )
    head_text = "What people are asked, newest first."
    empty_text = "No study yet. Open a set of maps and publish one: two clicks."

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return study_page.listed(super().get_queryset(request))

    @display(description="kind", ordering="kind")
    def kind_title(self, obj: Study) -> str:
        return KINDS[obj.kind].title if obj.kind in KINDS else obj.kind

    @display(description="state", ordering="state", label={"draft": "warning", "live": "info", "closed": "success"})
    def shown_state(self, obj: Study) -> str:
        return obj.state

    @display(description="trials", ordering="n_trials")
    def trial_count(self, obj: Any) -> int:
        return obj.n_trials

    @display(description="answers", ordering="n_answers")
    def answer_count(self, obj: Any) -> str:
        return f"{obj.n_answers} of {obj.n_trials * obj.answers_per_trial}" if obj.answers_per_trial else obj.n_answers

    def routes(self):
        return (
            ("<int:pk>/publish/", require_POST(self.publish), "publish"),
            ("<int:pk>/close/", require_POST(self.close), "close"),
            ("<int:pk>/look/", require_POST(self.look), "look"),
            ("<int:pk>/export/<str:form>/", self.export, "export"),
            *self.builder_routes(),
            *self.trial_routes(),
            *self.people_routes(),
            *self.loop_routes(),
            *self.analysis_routes(),
            *self.pair_routes(),
            *self.decision_routes(),
        )

    def page(self, request: HttpRequest, obj: Any) -> HttpResponse:
        return self._show(request, obj, looked=False)

    def _show(self, request: HttpRequest, study: Study, *, looked: bool) -> HttpResponse:
        folded = study.state == Study.State.LIVE and not looked
        draft = study.state == Study.State.DRAFT
        counts = study_page.kinds_that_answered(study)
        supervision = SupervisionSet.objects.filter(source=study.uuid).prefetch_related("runs")
        people = study_page.people_page(study, request.GET.get("page", 1))
        return self.render(
            request,
            "admin/harmony/study.html",
            obj=study,
            study=study,
            kind=kind_of(study),
            teaches=study.kind in TEACHES,
            of_pairs=is_of_pairs(study),
            analysis_title=VIEWS[study.kind].title if study.kind in VIEWS else "",
            version=study.version,
            plan=study.version.plan or default_plan(),
            progress=study_page.progress(study),
            people=people,
            outcomes=study_page.outcomes(study),
            simulated=counts.get(Participant.Kind.SIMULATED, 0),
            balance=study_page.balance(study),
            sides=study_page.sides(study),
            flags=study_page.flags(study),
            extra=study_page.extra_counts(study),
            audit=study_page.audit(study),
            problems=mending.problems(study) if draft else [],
            sample=sample_view(design_of(study), request.GET.dict(), sides=study.mode) if draft else None,
            invitations=study.invitations.count(),
            links=links_of(request, study),
            folded=folded,
            supervision=owned(supervision, request.user)[:20],
            study_url=reverse("study", args=[study.uuid]),
            preview_url=reverse("study-preview", args=[study.uuid]),
            **({} if folded or draft else results.shown(study, counts)),
        )

    def publish(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._act(request, pk, publishing.publish, "Annotators see it on their home page now.")

    def close(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._act(request, pk, publishing.close, "It is closed. The result is below.")

    def _act(self, request: HttpRequest, pk: int, action: Any, said: str) -> HttpResponse:
        study = self.seen(request, pk)
        try:
            action(study, request.user)
        except StudyRefused as error:
            messages.error(request, error.sentence)
        else:
            messages.success(request, said)
        return HttpResponseRedirect(reverse("admin:annotation_study_change", args=[pk]))

    def look(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The page with its result, once; the look is on record."""
        study = self.seen(request, pk)
        try:
            record_look(study, request.user)
        except StudyRefused as error:
            raise Http404(error.sentence) from error
        return self._show(request, study, looked=True)

    def export(self, request: HttpRequest, pk: int, form: str) -> StreamingHttpResponse:
        """Answers, figures or people as a file. While the study is live this is a look, and on record like one."""
        study = self.seen(request, pk)
        if form not in EXPORTS:
            raise Http404(f"There is no export “{form}”. Known: {', '.join(EXPORTS)}.")
        if study.state == Study.State.LIVE:
            record_look(study, request.user)
        pieces, content_type, name = EXPORTS[form]
        response = StreamingHttpResponse(pieces(study), content_type=content_type)
        response["Content-Disposition"] = f'attachment; filename="{name.format(str(study.uuid)[:8])}"'
        response["Cache-Control"] = "no-store"
        return response
