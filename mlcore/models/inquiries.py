"""A short question of a page to a classifier, answered by the worker `interactive` while the page waits."""

from django.conf import settings
from django.db import models

from mlcore.models.base import UUIDModel
from mlcore.models.classifiers import Classifier


def inquiry_path(instance: "Inquiry", filename: str) -> str:
    return f"inquiries/{instance.uuid}"


class Inquiry(UUIDModel):
    """Asked with `question` (and a picture), answered with `answer`; old ones are swept away."""

    class Kind(models.TextChoices):
        LAYERS = "layers", "layers of a classifier"
        MASK = "mask", "map of a picture"
        MATCH = "match", "a picture beside those it looks like"

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        ASKED = "asked", "being answered"
        ANSWERED = "answered", "answered"
        FAILED = "failed", "failed"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    classifier = models.ForeignKey(Classifier, on_delete=models.CASCADE, related_name="inquiries")
    question = models.JSONField(default=dict)
    picture = models.FileField(upload_to=inquiry_path, max_length=300, blank=True)
    state = models.CharField(max_length=20, choices=State.choices, default=State.WAITING, db_index=True)
    answer = models.JSONField(default=dict)
    reason = models.TextField(blank=True, help_text="One line: why there is no answer.")
    created = models.DateTimeField(auto_now_add=True, db_index=True)
    ended = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created"]
        verbose_name_plural = "inquiries"

    def __str__(self) -> str:
        return f"{self.kind} of {self.classifier_id}"
