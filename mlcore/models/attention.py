"""A trained attention module: what TAME or L-CAM has learned about one classifier, without the classifier."""

from django.conf import settings
from django.db import models

from mlcore.models.base import UUIDModel
from mlcore.models.classifiers import Classifier


def attention_path(instance: "AttentionModule", filename: str) -> str:
    return f"attention/{instance.uuid}.safetensors"


class AttentionModule(UUIDModel):
    """Makes a method that needs a trained attention choosable for its classifier."""

    class Kind(models.TextChoices):
        TAME = "tame", "TAME"
        L_CAM = "l_cam", "L-CAM"

    name = models.CharField(max_length=160)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    classifier = models.ForeignKey(Classifier, on_delete=models.CASCADE, related_name="attention_modules")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    variant = models.CharField(max_length=40, default="default")
    layers = models.JSONField(default=list, help_text="Names of the layers that it reads, the finest first.")
    weights = models.FileField(upload_to=attention_path, max_length=300)
    sha256 = models.CharField(max_length=64)
    run = models.OneToOneField(
        "mlcore.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="made_attention"
    )
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name
