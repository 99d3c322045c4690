"""Galleries: the list, a page of one, its deletion, and how large one would be before it is computed."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import display

from harmony.researcher import DomainAdmin, owned
from mlcore.catalogue.gallery_size import size_of
from mlcore.models import Classifier, FeatureGallery, ImageSet
from mlcore.runs import galleries
from mlcore.runs.correspond_features import free_bytes, in_bytes


class SizeForm(forms.Form):
    """Which features would be computed. What one may choose from are the rows of one's own."""

    classifier = forms.ModelChoiceField(Classifier.objects.none())
    image_set = forms.ModelChoiceField(ImageSet.objects.none(), label="Images")

    def __init__(self, data: Any, user: Any) -> None:
        super().__init__(data, label_suffix="")
        fields: dict[str, Any] = self.fields
        fields["classifier"].queryset = owned(Classifier.objects.all(), user)
        fields["image_set"].queryset = owned(ImageSet.objects.all(), user)


@admin.register(FeatureGallery)
class FeatureGalleryAdmin(DomainAdmin):
    list_display = ("layer", "classifier", "image_set", "images", "cells", "input", "size", "owner", "updated")
    list_select_related = ("classifier", "image_set", "owner")
    search_fields = ("layer", "classifier__name", "image_set__name")
    head_links = (("How large would one be?", "admin:mlcore_featuregallery_size", "straighten"),)
    head_text = (
        "Features of images by a classifier’s layer, computed once: what classifying by comparison reads. "
        "They are a cache; a run that misses them computes them again."
    )
    empty_text = "No gallery yet. A run of the kind “classify by comparison” makes it."

    @display(description="cells")
    def cells(self, obj: FeatureGallery) -> str:
        return _cells(obj.channels, obj.height, obj.width) if obj.channels else "–"

    @display(description="input")
    def input(self, obj: FeatureGallery) -> str:
        return f"{obj.transform.get('image_size')} px, {obj.transform.get('resize')}, {obj.transform.get('normalise')}"

    @display(description="on the disk", ordering="bytes")
    def size(self, obj: FeatureGallery) -> str:
        return in_bytes(obj.bytes)

    def routes(self):
        return (
            ("size/", self.size_page, "size"),
            ("<int:pk>/remove/", self.remove_page, "remove"),
        )

    def page(self, request: HttpRequest, obj: Any) -> HttpResponse:
        gallery = self.seen(request, obj.pk, self.get_queryset(request).select_related("classifier", "image_set"))
        there = galleries.is_there(gallery)
        return self.render(
            request,
            "admin/harmony/gallery.html",
            obj=gallery,
            there=there,
            size=in_bytes(gallery.bytes),
            cells=self.cells(gallery),
            input=self.input(gallery),
            left_out=gallery.image_set.images.count() - gallery.images,
        )

    def remove_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asks once more; with POST the gallery goes."""
        gallery = self.seen(request, pk)
        refused = ""
        if request.method == "POST":
            try:
                freed = galleries.delete_gallery(gallery, request.user)
            except galleries.GalleryRefused as error:
                refused = str(error)
            else:
                messages.success(request, f"The gallery is deleted; {in_bytes(freed)} are free again.")
                return HttpResponseRedirect(reverse("admin:mlcore_featuregallery_changelist"))
        return self.render(
            request, "admin/harmony/gallery_remove.html", obj=gallery, title="Delete", refused=refused,
            size=in_bytes(gallery.bytes), status=409 if refused else 200,
        )  # fmt: skip

    def size_page(self, request: HttpRequest) -> HttpResponse:
        """Every layer of a classifier, and what the features of a set of images by it take."""
        form = SizeForm(request.GET or None, request.user)
        found: dict[str, Any] = {}
        if form.is_valid():
            found = _sizes(form.cleaned_data["classifier"], form.cleaned_data["image_set"])
        return self.render(
            request, "admin/harmony/gallery_size.html", title="How large would a gallery be?", form=form,
            free=in_bytes(free_bytes()), **found,
        )  # fmt: skip


def _sizes(classifier: Classifier, image_set: ImageSet) -> dict[str, Any]:
    """The layers with their sizes, the usual one first; or why there are none."""
    try:
        usual = galleries.plan(classifier, image_set)
    except galleries.GalleryRefused as refused:
        return {"refused": str(refused)}
    layers = classifier.layers or []
    names = [row["name"] for row in layers]
    start = urlencode({"kind": "correspond", "classifier": classifier.pk, "image_set": image_set.pk})
    return {
        "usual": usual,
        "listed": classifier if not names else None,
        "start": f"{reverse('admin:mlcore_run_start')}?{start}",
        "layers": [_line(row, usual) for row in sorted(layers, key=lambda row: row["name"] != usual.layer)],
    }


def _line(row: dict[str, Any], usual: galleries.Plan) -> dict[str, Any]:
    shape = (int(row["channels"]), int(row["height"]), int(row["width"]))
    size = size_of(usual.images, *shape)
    return {
        "name": row["name"],
        "cells": _cells(*shape),
        "bytes": size,
        "size": in_bytes(size),
        "usual": row["name"] == usual.layer,
        "fits": size <= usual.free,
    }


def _cells(channels: int, height: int, width: int) -> str:
    return f"{channels} × {height} × {width}"
