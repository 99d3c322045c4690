"""A person in one study. Everywhere but here people are pseudonyms."""

from django.conf import settings
from django.db import models

from annotation.models.studies import Arm, Study
from mlcore.models.base import UUIDModel


class Participant(UUIDModel):
    class Kind(models.TextChoices):
        HUMAN = "human", "human"
        SIMULATED = "simulated", "simulated"
        IMPORTED = "imported", "imported"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="participants")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="participations",
    )
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.HUMAN)
    pseudonym = models.CharField(max_length=40)
    arm = models.ForeignKey(Arm, null=True, blank=True, on_delete=models.PROTECT, related_name="participants")
    external_id = models.CharField(max_length=120, blank=True)
    order_offset = models.BigIntegerField(help_text="Where in the trials' random order this person starts.")
    phase = models.CharField(max_length=20, default="main")
    consent_at = models.DateTimeField(null=True, blank=True)
    completion_code = models.CharField(max_length=40, blank=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["study", "user"], name="one_participation_a_person"),
            models.UniqueConstraint(fields=["study", "pseudonym"], name="pseudonym_once_a_study"),
            models.UniqueConstraint(
                fields=["study", "external_id"],
                condition=~models.Q(external_id=""),
                name="external_id_once_a_study",
            ),
        ]

    def __str__(self) -> str:
        return self.pseudonym
