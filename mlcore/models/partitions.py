"""A partition cuts a set into named parts and is never changed: a new split is a new partition."""

from django.conf import settings
from django.db import models

from mlcore.models.base import ImmutableModel, UUIDModel
from mlcore.models.images import Image, ImageSet


class Part(models.TextChoices):
    """The four parts that are never mixed (definitions §2)."""

    TRAIN = "train", "train"
    POOL = "annotation_pool", "annotation pool"
    VALIDATION = "validation", "validation"
    TEST = "test", "test"


class Partition(ImmutableModel):
    image_set = models.ForeignKey(ImageSet, on_delete=models.CASCADE, related_name="partitions")
    name = models.CharField(max_length=120)
    seed = models.PositiveIntegerField(default=0)
    spec = models.JSONField(default=dict, help_text="How the parts were made: fractions, counts a class, or 'given'.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    created = models.DateTimeField(auto_now_add=True)

    class Meta(UUIDModel.Meta):
        abstract = False
        ordering = ["-created"]
        constraints = [models.UniqueConstraint(fields=["image_set", "name"], name="partition_name_unique_in_its_set")]

    def __str__(self) -> str:
        return f"{self.image_set}: {self.name}"


class PartitionMember(models.Model):
    partition = models.ForeignKey(Partition, on_delete=models.CASCADE, related_name="members")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="memberships")
    part = models.CharField(max_length=20, choices=Part.choices)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["partition", "image"], name="image_in_one_part_only"),
            models.CheckConstraint(condition=models.Q(part__in=Part.values), name="part_is_known"),
        ]
        indexes = [models.Index(fields=["partition", "part"])]

    def __str__(self) -> str:
        return f"{self.image_id} in {self.part}"
