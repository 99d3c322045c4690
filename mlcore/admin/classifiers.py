"""Classifiers: the list, a page with scores and explanation sets, import of weights."""

import tempfile
from pathlib import Path
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import display

from harmony.forms import ActionForm
from harmony.researcher import DomainAdmin, owned
from mlcore.admin.inquiry_pages import InquiryPages, usual_images
from mlcore.admin.match_ask import ComparePages
from mlcore.catalogue import ARCHITECTURES
from mlcore.exchange.weights import import_classifier
from mlcore.models import AttentionModule, Classifier, CorrespondenceNetwork, ExplanationSet, Run, Score

MAX_WEIGHTS_BYTES = 2 * 1024**3


class WeightsForm(ActionForm):
    name = forms.CharField(max_length=160)
    architecture = forms.ChoiceField(choices=[(name, name) for name in ARCHITECTURES])
    weights = forms.FileField(
        help_text="safetensors or npz with torchvision's names. A .pt file is converted by "
        "“manage.py import_classifier”; a pickle is refused."
    )
    classes = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 6, "wide": True}),
        help_text="One class a line, in the order of the outputs.",
    )
    padding = forms.ChoiceField(choices=Classifier.Padding.choices, initial=Classifier.Padding.TORCH)

    def clean_classes(self) -> list[str]:
        return [line.strip() for line in self.cleaned_data["classes"].splitlines() if line.strip()]

    def clean_weights(self) -> Any:
        upload = self.cleaned_data["weights"]
        if upload.size > MAX_WEIGHTS_BYTES:
            raise forms.ValidationError("This file is larger than 2 GB. Import it by “manage.py import_classifier”.")
        return upload


@admin.register(Classifier)
class ClassifierAdmin(InquiryPages, ComparePages, DomainAdmin):
    list_display = ("name", "architecture", "class_count", "made_by", "owner", "created")
    list_select_related = ("owner", "run")
    list_filter = ("architecture",)
    search_fields = ("name", "architecture")
    head_links = (
        ("Train one", "admin:mlcore_run_start", "play_arrow"),
        ("Import weights", "admin:mlcore_classifier_import", "upload"),
        ("Attention modules", "admin:mlcore_attentionmodule_changelist", "center_focus_strong"),
        ("Correspondence networks", "admin:mlcore_correspondencenetwork_changelist", "linked_services"),
        ("Galleries", "admin:mlcore_featuregallery_changelist", "grid_view"),
    )
    head_text = "What training made and what was imported."
    empty_text = "No classifier yet. Train one on your images, or import weights."

    @display(description="classes")
    def class_count(self, obj: Classifier) -> int:
        return len(obj.classes)

    @display(description="made by", empty_value="import")
    def made_by(self, obj: Classifier) -> str | None:
        return str(obj.run) if obj.run_id else None

    def routes(self):
        return (("import/", self.import_page, "import"), *self.inquiry_routes(), *self.compare_routes())

    def page(self, request: HttpRequest, obj: Any) -> HttpResponse:
        # Scores of its maps stand with the maps, those of what was trained beside it with the run that did.
        own = Score.objects.filter(
            classifier=obj, explanation_set=None, run__made_attention=None, run__made_network=None
        )
        scores = own.select_related("run", "partition__image_set").defer("per_image", "run__manifest", "run__log")
        sets = owned(ExplanationSet.objects.filter(classifier=obj), request.user).select_related("image_set")
        return self.render(
            request,
            "admin/harmony/classifier.html",
            obj=obj,
            scores=scores.order_by("-run__created", "part", "metric")[:60],
            explanation_sets=sets[:40],
            runs=owned(Run.objects.filter(classifier=obj), request.user)[:20],
            children=owned(Classifier.objects.filter(parent=obj), request.user)[:20],
            image_set=usual_images(request.user, obj),
            modules=owned(AttentionModule.objects.filter(classifier=obj), request.user)[:20],
            networks=owned(CorrespondenceNetwork.objects.filter(classifier=obj), request.user)[:20],
        )

    def import_page(self, request: HttpRequest) -> HttpResponse:
        form = WeightsForm(
            request.POST or None,
            request.FILES or None,
            action=lambda form: _import(request.user, form.cleaned_data),
        )
        if request.method == "POST" and form.is_valid():
            classifier = form.perform()
            if classifier is not None:
                messages.success(request, f"“{classifier.name}” is here, with {len(classifier.classes)} classes.")
                return HttpResponseRedirect(reverse("admin:mlcore_classifier_change", args=[classifier.pk]))
        return self.render(
            request, "admin/harmony/form.html", title="Import weights", form=form, verb="Import",
            back=reverse("admin:mlcore_classifier_changelist"), status=422 if request.method == "POST" else 200,
        )  # fmt: skip


def _import(owner: Any, given: dict[str, Any]) -> Classifier:
    upload = given.pop("weights")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"weights{Path(upload.name).suffix.lower()}"
        with path.open("wb") as stream:
            for chunk in upload.chunks():
                stream.write(chunk)
        return import_classifier(path, owner=owner, **given)
