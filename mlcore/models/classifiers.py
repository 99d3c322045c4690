"""A classifier: an architecture, its classes and its weights as safetensors."""

from django.conf import settings
from django.db import models

from mlcore.models.base import UUIDModel


def weights_path(instance: "Classifier", filename: str) -> str:
    return f"classifiers/{instance.uuid}.safetensors"


class Classifier(UUIDModel):
    class Padding(models.TextChoices):
        TORCH = "torch", "as torchvision pads"
        TENSORFLOW = "tensorflow", "as TensorFlow pads (MobileNetV2 from TensorFlow)"

    name = models.CharField(max_length=160)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    architecture = models.CharField(max_length=80, help_text="A torchvision classifier by name, or sixconv.")
    classes = models.JSONField(default=list)
    weights = models.FileField(upload_to=weights_path, max_length=300, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    padding = models.CharField(max_length=20, choices=Padding.choices, default=Padding.TORCH)
    transform = models.JSONField(
        default=dict, help_text="How an image becomes its input: image_size, resize, normalise."
    )
    layers = models.JSONField(
        default=list, blank=True, help_text="Its layers with their shapes, listed when first asked for."
    )
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="children")
    run = models.OneToOneField(
        "mlcore.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="made_classifier"
    )
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name
