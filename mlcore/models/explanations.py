"""What explains a classifier: maps in shards at the method's own size, or neighbours and matched patches as rows."""

from django.conf import settings
from django.db import models

from mlcore.models.base import UUIDModel
from mlcore.models.classifiers import Classifier
from mlcore.models.images import Image, ImageSet


class ExplanationSet(UUIDModel):
    """One way of explaining one classifier; the hash of all that decides a map keeps it from being made twice."""

    class Target(models.TextChoices):
        TRUE = "true", "the true class"
        PREDICTED = "predicted", "the predicted class"
        GIVEN = "given", "a given class"
        SECOND = "second", "the second choice"

    classifier = models.ForeignKey(Classifier, on_delete=models.CASCADE, related_name="explanation_sets")
    image_set = models.ForeignKey(ImageSet, on_delete=models.CASCADE, related_name="explanation_sets")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    method = models.CharField(max_length=60)
    layer = models.CharField(max_length=120, blank=True)
    preset = models.CharField(max_length=40, default="default")
    options = models.JSONField(default=dict)
    transform = models.JSONField(default=dict)
    target = models.CharField(max_length=20, choices=Target.choices, default=Target.PREDICTED)
    target_class = models.PositiveIntegerField(null=True, blank=True)
    code_version = models.CharField(max_length=40)
    hash = models.CharField(max_length=64, unique=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return f"{self.method} of {self.classifier}"


class Explanation(UUIDModel):
    """One image's explanation.

    A map is row `index` of array `maps` in the shard, float32, height × width. Neighbours and matches lie in `data`
    (mlcore.exchange.correspondences) and have no shard.
    """

    class Payload(models.TextChoices):
        MAP = "map", "map"
        NEIGHBOURS = "neighbours", "nearest neighbours"
        MATCHES = "matches", "matched patches"

    class Status(models.TextChoices):
        OK = "ok", "ok"
        CONSTANT = "constant", "constant"
        NONFINITE = "nonfinite", "not finite"

    set = models.ForeignKey(ExplanationSet, on_delete=models.CASCADE, related_name="explanations")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="explanations")
    payload = models.CharField(max_length=20, choices=Payload.choices, default=Payload.MAP)
    data = models.JSONField(default=dict, blank=True, help_text="Neighbours or matches; empty for a map.")
    shard = models.CharField(max_length=300, blank=True, help_text="Path in the storage.")
    index = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)
    width = models.PositiveIntegerField(default=0)
    maximum = models.FloatField(null=True)
    target = models.PositiveIntegerField(help_text="The class that is explained.")
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.OK)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["set", "image"], name="explained_once_a_set"),
            models.CheckConstraint(
                condition=models.Q(payload="map", shard__gt="", height__gt=0, width__gt=0)
                | models.Q(payload__in=["neighbours", "matches"], shard=""),
                name="a_map_lies_in_a_shard",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.image_id} in {self.set_id}"
