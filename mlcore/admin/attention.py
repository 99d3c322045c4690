"""Trained attention modules: the list, a page of one, and its file."""

from typing import Any

from django.contrib import admin
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.text import slugify
from unfold.decorators import display

from harmony.researcher import DomainAdmin, owned
from mlcore.models import AttentionModule, ExplanationSet


@admin.register(AttentionModule)
class AttentionModuleAdmin(DomainAdmin):
    list_display = ("name", "kind", "classifier", "shown_layers", "owner", "created")
    list_select_related = ("classifier", "owner")
    list_filter = ("kind",)
    search_fields = ("name", "classifier__name")
    head_links = (("Train one", "admin:mlcore_attentionmodule_start", "play_arrow"),)
    head_text = "What TAME and L-CAM have learned about a classifier: with one, they explain it."
    empty_text = "No attention module yet. Train one on a classifier, with the objective “TAME”."

    @display(description="layers")
    def shown_layers(self, obj: AttentionModule) -> str:
        return ", ".join(obj.layers)

    def routes(self):
        return (
            ("train/", self.start_redirect, "start"),
            ("<int:pk>/file/", self.download, "file"),
        )

    def start_redirect(self, request: HttpRequest) -> HttpResponse:
        from django.shortcuts import redirect
        from django.urls import reverse

        return redirect(f"{reverse('admin:mlcore_run_start')}?kind=train&objective=tame")

    def page(self, request: HttpRequest, obj: Any) -> HttpResponse:
        found = self.get_queryset(request).select_related("classifier", "run", "run__image_set", "owner")
        module = self.seen(request, obj.pk, found)
        sets = ExplanationSet.objects.filter(options__attention=str(module.uuid), classifier=module.classifier)
        return self.render(
            request,
            "admin/harmony/attention.html",
            obj=module,
            explanation_sets=owned(sets, request.user).select_related("image_set")[:40],
        )

    def download(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The safetensors file, which says itself what it fits."""
        module = self.seen(request, pk)
        try:
            stream = module.weights.open("rb")
        except OSError as error:
            raise Http404("The file of this attention module is not in the storage any more.") from error
        name = f"{slugify(module.name) or 'attention'}.safetensors"
        return FileResponse(stream, as_attachment=True, filename=name, content_type="application/octet-stream")
