"""Published decisions in the administration: a file is sent, shown as it would be read, and imported if that is right.

Nothing is written before the second page is confirmed; what its selects say is what is imported.
"""

from pathlib import PurePath
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from annotation.admin import import_uploads
from annotation.exchange.decisions import Sheet, parse_sheet
from annotation.exchange.decisions_columns import LABEL, Reading, changed, conditions_of
from annotation.exchange.decisions_guess import guess, guess_labels
from annotation.exchange.decisions_import import Imported, import_decisions
from annotation.exchange.decisions_preview import lines, preview
from annotation.exchange.decisions_rows import Decisions, read_decisions
from annotation.exchange.imported import MOST_STUDY_NAME
from harmony.forms import ActionForm
from harmony.researcher import owned
from mlcore.exchange.report import ImportRefused
from mlcore.models import ImageSet

MOST_ROWS = 30_000  # a page does not wait longer; the command takes more
PROBLEMS_SHOWN = 20
PREFIX = "read."
INTRO = (
    "A CSV with a row for each decision: who saw which picture, what the AI said, and whether the person accepted it. "
    "Columns may be called anything; the next page shows how they are read, and nothing is written before you agree."
)


class UploadForm(ActionForm):
    """The file."""

    refusals = (ImportRefused,)

    table = forms.FileField(
        label="CSV file",
        widget=forms.FileInput(attrs={"data-plain": "", "accept": ".csv,text/csv"}),
        help_text="Comma, semicolon or tab; the first line names the columns. "
        f"At most {import_uploads.MOST_BYTES >> 20} MB and {MOST_ROWS:,} rows.",
    )


class ConfirmForm(forms.Form):
    """What the study is called, and where its pictures are."""

    name = forms.CharField(label="Name of the study", max_length=MOST_STUDY_NAME)
    pictures = forms.ModelChoiceField(
        ImageSet.objects.none(), required=False, label="Pictures from", empty_label="nowhere: there are none",
        help_text="An image set of yours that has pictures of these names. The others show a grey place.",
    )  # fmt: skip
    leave_out = forms.BooleanField(required=False, label="Leave out the rows with problems")

    def __init__(self, request: HttpRequest, file: str) -> None:
        suggested = PurePath(file).stem.replace("_", " ")[:MOST_STUDY_NAME]
        super().__init__(request.POST if request.method == "POST" else None, initial={"name": suggested})
        self.label_suffix = ""
        self.fields["pictures"].queryset = owned(ImageSet.objects.all(), request.user)  # type: ignore[attr-defined]


class DecisionPages:
    """Pages of the study's admin that import decisions."""

    render: Any

    def decision_routes(self) -> tuple[tuple[str, Any, str], ...]:
        return (
            ("import-decisions/", self.decisions_upload, "decisions"),
            ("import-decisions/<str:token>/", self.decisions_preview, "decisions_preview"),
        )

    def decisions_upload(self, request: HttpRequest) -> HttpResponse:
        """The form; with POST, the file is kept and shown on the next page."""

        def act(form: ActionForm) -> str:
            return import_uploads.keep(form.cleaned_data["table"], request.user)

        sent = request.method == "POST"
        form = UploadForm(request.POST if sent else None, request.FILES if sent else None, action=act)
        if sent and form.is_valid():
            token = form.perform()
            if token is not None:
                return HttpResponseRedirect(reverse("admin:annotation_study_decisions_preview", args=[token]))
        return self.render(
            request, "admin/harmony/form.html", title="Import decisions", form=form, verb="Look at it", intro=INTRO,
            back=reverse("admin:annotation_study_changelist"), status=422 if sent else 200,
        )  # fmt: skip

    def decisions_preview(self, request: HttpRequest, token: str) -> HttpResponse:
        """How the file is read; with POST read otherwise, or imported."""
        stored, file = import_uploads.find(token, request.user)
        form, refused = ConfirmForm(request, file), ""
        try:
            sheet = parse_sheet(import_uploads.read(stored), file, MOST_ROWS)
        except ImportRefused as error:
            import_uploads.forget(stored)
            messages.error(request, error.sentence)
            return HttpResponseRedirect(reverse("admin:annotation_study_decisions"))
        found: Decisions | None = None
        reading = Reading({})
        try:
            reading = _wished(sheet, request) if request.method == "POST" else guess(sheet)
            found = read_decisions(sheet, reading)
            if request.method == "POST" and "look" not in request.POST and form.is_valid():
                report = self._import(request, form, sheet, reading, found)
                import_uploads.forget(stored)
                messages.success(request, report.sentence())
                return HttpResponseRedirect(reverse("admin:annotation_study_change", args=[report.study.pk]))
        except ImportRefused as error:
            refused = error.sentence
        refused_now = request.method == "POST" and "look" not in request.POST
        shown = preview(sheet, reading, found)
        return self.render(
            request, "admin/annotation/import_decisions.html", title=f"Import decisions: {file}", form=form,
            preview=shown, shown_problems=shown.problems[:PROBLEMS_SHOWN], columns=sheet.columns, refused=refused,
            prefix=PREFIX,
            usable=found is not None and bool(found.said), back=reverse("admin:annotation_study_decisions"),
            status=422 if refused_now else 200,
        )  # fmt: skip

    def _import(
        self, request: HttpRequest, form: ConfirmForm, sheet: Sheet, reading: Reading, found: Decisions
    ) -> Imported:
        given = form.cleaned_data
        return import_decisions(
            found, reading, name=given["name"], owner=request.user, file=sheet.name, pictures=given["pictures"],
            leave_out=given["leave_out"],
        )  # fmt: skip


def _wished(sheet: Sheet, request: HttpRequest) -> Reading:
    """The reading that the page's selects say. Raises ImportRefused."""
    sent = {key.removeprefix(PREFIX): str(value) for key, value in request.POST.items() if key.startswith(PREFIX)}
    roles = {line.option: sent.get(line.option, "") for line in lines(sheet, Reading({})) if ":" not in line.option}
    reading = changed(sheet, Reading({}), roles)
    own = {f"{LABEL}:{name}" for name in conditions_of(sheet, reading.columns.get("condition")) if name}
    labels = {option: column for option, column in sent.items() if option in own}
    if labels or LABEL in reading.columns:
        return changed(sheet, reading, labels)
    # Other conditions than before: nobody could say yet where their labels stand.
    return Reading(reading.columns, guess_labels(sheet, reading.columns))
