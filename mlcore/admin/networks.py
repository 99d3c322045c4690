"""Trained correspondence networks: the list, a page of one, and its file."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from harmony.researcher import owned
from mlcore.admin.trained import TrainedAdmin
from mlcore.models import CorrespondenceNetwork, ExplanationSet, Score


@admin.register(CorrespondenceNetwork)
class CorrespondenceNetworkAdmin(TrainedAdmin):
    objective = "correspondence"
    what = "correspondence network"
    list_display = ("name", "classifier", "layer", "owner", "created")
    list_select_related = ("classifier", "owner")
    search_fields = ("name", "classifier__name")
    head_links = (("Train one", "admin:mlcore_correspondencenetwork_start", "play_arrow"),)
    head_text = "What finds the points of two pictures that correspond: with one, CHM-Corr compares pictures."
    empty_text = "No correspondence network yet. Train one on a classifier, with the objective “Correspondence”."

    def page(self, request: HttpRequest, obj: Any) -> HttpResponse:
        found = self.get_queryset(request).select_related("classifier", "run", "run__image_set", "owner")
        network = self.seen(request, obj.pk, found)
        sets = ExplanationSet.objects.filter(options__network=str(network.uuid), classifier=network.classifier)
        scores = Score.objects.filter(run__made_network=network, metric__in=("pck", "pck_cosine"))
        return self.render(
            request,
            "admin/harmony/network.html",
            obj=network,
            explanation_sets=owned(sets, request.user).select_related("image_set")[:40],
            scores=scores.defer("per_image").order_by("part", "metric"),
        )
