"""Rows that are only read: partitions, supervision, people's maps, the audit and the workers."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display

from harmony.researcher import DomainAdmin, is_researcher
from mlcore.models import AuditEntry, HumanMap, HumanMapSet, Partition, SupervisionSet, Worker


@admin.register(Partition)
class PartitionAdmin(DomainAdmin):
    list_display = ("name", "image_set", "seed", "owner", "created")
    list_select_related = ("image_set", "owner")
    search_fields = ("name", "image_set__name")
    fields = ("name", "image_set", "seed", "spec", "owner", "created", "uuid")
    head_text = "A partition never changes; another split is another partition."
    empty_text = "No partition yet. Open a set of images and make one."


@admin.register(SupervisionSet)
class SupervisionSetAdmin(DomainAdmin):
    list_display = ("name", "image_set", "people", "stale", "owner", "created")
    list_select_related = ("image_set", "owner")
    search_fields = ("name",)
    fields = ("name", "image_set", "source", "participants", "spec", "stale", "owner", "created", "uuid")
    head_text = "What people said, frozen at a moment, in the form that a run trains on."
    empty_text = "Nothing yet. It is made when phase 2 starts from a study's page."

    @display(description="people")
    def people(self, obj: SupervisionSet) -> str:
        return ", ".join(f"{n} {kind}" for kind, n in obj.participants.items() if n) or "–"


@admin.register(HumanMapSet)
class HumanMapSetAdmin(DomainAdmin):
    list_display = ("name", "image_set", "map_count", "people", "stale", "owner", "created")
    list_select_related = ("image_set", "owner")
    search_fields = ("name", "image_set__name")
    fields = ("name", "image_set", "source", "participants", "map_count", "stale", "owner", "created", "uuid")
    head_text = "What people drew, a map a person and image: a score run compares attention with it."
    empty_text = "Nothing yet. The page of a study in which people draw has “Compare with what people drew”."

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = HumanMap.objects.filter(set=OuterRef("pk")).order_by().values("set")
        counted = Coalesce(Subquery(rows.annotate(n=Count("pk")).values("n")), 0)
        return super().get_queryset(request).annotate(n_maps=counted)

    @display(description="maps", ordering="n_maps")
    def map_count(self, obj: Any) -> int:
        return obj.n_maps

    @display(description="people")
    def people(self, obj: HumanMapSet) -> str:
        return ", ".join(f"{n} {kind}" for kind, n in obj.participants.items() if n) or "–"


@admin.register(AuditEntry)
class AuditEntryAdmin(DomainAdmin):
    """Who changed what. A researcher reads what they themselves did; an administrator reads everything."""

    owner_path = "actor"
    list_display = ("at", "actor", "action", "object_type", "object_name")
    list_select_related = ("actor",)
    list_filter = ("action", "object_type")
    search_fields = ("object_name", "object_id")
    fields = ("at", "actor", "action", "object_type", "object_name", "object_id", "before", "after")
    head_text = "Who changed what, when, before and after."


@admin.register(Worker)
class WorkerAdmin(ModelAdmin):
    """Every researcher may see whether a worker lives."""

    list_display = ("name", "queues", "device", "slot", "started", "seen")
    show_full_result_count = False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_researcher(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Worker | None = None) -> bool:
        return is_researcher(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Worker | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Worker | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).order_by("-seen")
