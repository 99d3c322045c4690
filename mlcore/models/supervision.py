"""Supervision: what people said about images, frozen at a moment, in the form that a run trains on.

`source` is the study's UUID, opaque here: mlcore knows nothing of studies.
"""

from django.conf import settings
from django.db import models

from mlcore.models.base import ImmutableModel, UUIDModel
from mlcore.models.images import Image, ImageSet


def map_path(instance: "SupervisionItem", filename: str) -> str:
    return f"supervision/{instance.supervision.uuid}/{instance.image.uuid}.png"


class SupervisionSet(ImmutableModel):
    image_set = models.ForeignKey(ImageSet, on_delete=models.PROTECT, related_name="supervision_sets")
    name = models.CharField(max_length=160)
    source = models.UUIDField(null=True, blank=True, help_text="UUID of the study that the answers come from.")
    participants = models.JSONField(default=dict, help_text="Number of people by kind: human, simulated, imported.")
    spec = models.JSONField(default=dict, help_text="Rules that were used: consensus, weights of the matrix.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    stale = models.BooleanField(default=False, help_text="A person whose answers are in it was deleted since.")
    created = models.DateTimeField(auto_now_add=True)

    class Meta(UUIDModel.Meta):
        abstract = False
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name


class SupervisionItem(models.Model):
    """One image: a map of {unknown 0, important 1, unimportant 2} (palette PNG) and its two weights."""

    class Case(models.TextChoices):
        UNREASONABLE_INACCURATE = "unreasonable_inaccurate", "unreasonable, inaccurate"
        UNREASONABLE_ACCURATE = "unreasonable_accurate", "unreasonable, accurate"
        REASONABLE_INACCURATE = "reasonable_inaccurate", "reasonable, inaccurate"
        REASONABLE_ACCURATE = "reasonable_accurate", "reasonable, accurate"
        NOT_RATED = "not_rated", "not rated"

    supervision = models.ForeignKey(SupervisionSet, on_delete=models.CASCADE, related_name="items")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="supervision_items")
    map = models.FileField(upload_to=map_path, max_length=300, blank=True)
    case = models.CharField(max_length=30, choices=Case.choices, default=Case.NOT_RATED)
    w_p = models.FloatField(default=1.0)
    w_a = models.FloatField(default=0.0)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["supervision", "image"], name="supervised_once_a_set"),
            models.CheckConstraint(condition=models.Q(w_p__gte=0, w_a__gte=0), name="weights_not_negative"),
            models.CheckConstraint(condition=models.Q(w_a=0) | ~models.Q(map=""), name="attention_needs_a_map"),
        ]

    def __str__(self) -> str:
        return f"{self.image_id}: {self.case}"
