"""Attribution pairs in the administration: made from tuned copies, asked about by a study, carried away as a file."""

import tempfile
from typing import Any

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

from annotation.admin import pair_form
from annotation.errors import StudyRefused
from annotation.exchange.bundle import write_bundle
from annotation.models import Study
from annotation.pair_studies import pair_sets_of
from harmony.researcher import owned
from mlcore.models import Classifier
from mlcore.runs.pair_maps import tuned_for


def is_of_pairs(study: Study) -> bool:
    """Whether the study asks about attribution pairs."""
    return any("pair_set" in group for group in study.version.settings.get("groups", []))


class PairPages:
    """Pages of the study's admin about attribution pairs."""

    render: Any
    seen: Any

    def pair_routes(self) -> tuple[tuple[str, Any, str], ...]:
        return (
            ("pairs/<int:pk>/", self.pairs_page, "pairs"),
            ("<int:pk>/bundle/", self.bundle, "bundle"),
        )

    def pairs_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What is there of a tuned copy's pairs, and the form; with POST, the pairs and a draft of their study."""
        tuned = _tuned(request, pk)
        form = pair_form.form_for(request, tuned)
        looks = "look" in request.POST  # at another method or part, before anything is made
        if request.method == "POST" and not looks and form.is_valid():
            study = form.perform()
            if study is not None:
                number = sum(pair_set.spec["pairs"] for pair_set in pair_sets_of(study))
                messages.success(request, f"{number} pairs are made, and this draft asks about them.")
                return HttpResponseRedirect(reverse("admin:annotation_study_change", args=[study.pk]))
        return self.render(
            request,
            "admin/annotation/pairs.html",
            title=f"Attribution pairs of “{tuned}”",
            tuned=tuned,
            form=form,
            lines=pair_form.lines(form, tuned, request.user),
            back=reverse("admin:mlcore_classifier_change", args=[tuned.pk]),
            status=422 if request.method == "POST" and not looks else 200,
        )

    def bundle(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The study as one file, without people and answers."""
        study = self.seen(request, pk)
        if not is_of_pairs(study):
            raise Http404("This study asks about no attribution pairs.")
        stream = tempfile.TemporaryFile()  # noqa: SIM115  the response closes it
        try:
            write_bundle([study], stream)
        except (StudyRefused, OSError) as error:
            stream.close()
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:annotation_study_change", args=[pk]))
        stream.seek(0)
        name = f"pairs-{str(study.uuid)[:8]}.zip"
        response = FileResponse(stream, as_attachment=True, filename=name, content_type="application/zip")
        response["Cache-Control"] = "no-store"
        return response


def _tuned(request: HttpRequest, pk: int) -> Classifier:
    rows = owned(Classifier.objects.select_related("run__image_set", "run__partition", "parent"), request.user)
    tuned = rows.filter(pk=pk).first()
    if tuned is None or tuned.parent is None or tuned_for(tuned) is None:
        raise Http404("There is no such classifier, or it was not tuned for a metric.")
    return tuned
