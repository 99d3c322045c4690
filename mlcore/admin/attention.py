"""Trained attention modules: the list, a page of one, and its file."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from harmony.researcher import owned
from mlcore.admin.trained import TrainedAdmin
from mlcore.models import AttentionModule, ExplanationSet


@admin.register(AttentionModule)
class AttentionModuleAdmin(TrainedAdmin):
    objective = "tame"
    what = "attention module"
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
