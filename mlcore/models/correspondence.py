"""What classifying by comparison keeps: features of image sets, and networks that find corresponding points."""

from django.conf import settings
from django.db import models

from mlcore.models.base import UUIDModel
from mlcore.models.classifiers import Classifier
from mlcore.models.images import ImageSet


def network_path(instance: "CorrespondenceNetwork", filename: str) -> str:
    return f"correspondence/{instance.uuid}.safetensors"


class FeatureGallery(UUIDModel):
    """Features of an image set by one layer of a classifier: computed once, kept as files below GALLERIES_DIR.

    The key says all that decides a feature: the weights' hash, the layer, the transform, the image set. The files are
    a cache: a run that misses one, or finds it damaged, makes it again.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    classifier = models.ForeignKey(Classifier, on_delete=models.CASCADE, related_name="galleries")
    image_set = models.ForeignKey(ImageSet, on_delete=models.CASCADE, related_name="galleries")
    layer = models.CharField(max_length=120)
    transform = models.JSONField(default=dict)
    key = models.CharField(max_length=64, unique=True)
    channels = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)
    width = models.PositiveIntegerField(default=0)
    images = models.PositiveIntegerField(default=0, help_text="Images whose features are there.")
    bytes = models.PositiveBigIntegerField(default=0)
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created"]
        verbose_name_plural = "feature galleries"

    def __str__(self) -> str:
        return f"{self.layer} of {self.classifier} on {self.image_set}"


class CorrespondenceNetwork(UUIDModel):
    """A trained convolutional Hough matching network over one stage of a classifier; its weights without those of the
    classifier."""

    name = models.CharField(max_length=160)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    classifier = models.ForeignKey(Classifier, on_delete=models.CASCADE, related_name="correspondence_networks")
    layer = models.CharField(max_length=120, help_text="The stage whose features it reads.")
    settings = models.JSONField(default=dict, help_text="Input size, sides of the scales, channels.")
    weights = models.FileField(upload_to=network_path, max_length=300)
    sha256 = models.CharField(max_length=64)
    run = models.OneToOneField(
        "mlcore.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="made_network"
    )
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name
