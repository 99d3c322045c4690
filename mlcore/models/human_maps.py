"""People's maps as they are, one a person and image: what attention is compared with, and people with each other.

`source` is the study's UUID, opaque here; a rater is a number within the set, never a person's name.
"""

from django.conf import settings
from django.db import models

from mlcore.models.base import ImmutableModel, UUIDModel
from mlcore.models.images import Image, ImageSet


def human_map_path(instance: "HumanMap", filename: str) -> str:
    return f"human_maps/{instance.set.uuid}/{instance.rater}/{instance.image.uuid}.png"


class HumanMapSet(ImmutableModel):
    image_set = models.ForeignKey(ImageSet, on_delete=models.PROTECT, related_name="human_map_sets")
    name = models.CharField(max_length=160)
    source = models.UUIDField(null=True, blank=True, help_text="UUID of the study that the maps come from.")
    participants = models.JSONField(default=dict, help_text="Number of people by kind: human, simulated, imported.")
    spec = models.JSONField(default=dict, help_text="Which studies and kinds of people the maps come from.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    stale = models.BooleanField(default=False, help_text="A person whose maps are in it was deleted since.")
    created = models.DateTimeField(auto_now_add=True)

    class Meta(UUIDModel.Meta):
        abstract = False
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name


class HumanMap(models.Model):
    """What one person drew on one image: palette PNG of {unknown 0, important 1, unimportant 2}, the image's size."""

    set = models.ForeignKey(HumanMapSet, on_delete=models.CASCADE, related_name="maps")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="human_maps")
    rater = models.PositiveIntegerField(help_text="Number of the person within the set.")
    map = models.FileField(upload_to=human_map_path, max_length=300)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["set", "image", "rater"], name="one_map_a_person_and_image"),
        ]

    def __str__(self) -> str:
        return f"{self.image_id} by {self.rater}"
