"""A trial handed to a person: open under a lease until answered, expired or given back."""

from django.db import models

from annotation.models.participants import Participant
from annotation.models.studies import Trial
from mlcore.models.base import UUIDModel


class Assignment(UUIDModel):
    class State(models.TextChoices):
        OPEN = "open", "open"
        ANSWERED = "answered", "answered"
        EXPIRED = "expired", "expired"
        RETURNED = "returned", "returned"
        # Answered, but it does not count: a first try, or someone whose place was given to another person.
        SET_ASIDE = "set_aside", "set aside"

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="assignments")
    trial = models.ForeignKey(Trial, on_delete=models.CASCADE, related_name="assignments")
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    order = models.JSONField(default=list, help_text="Slots in the order in which this person sees them.")
    place = models.PositiveIntegerField(default=0, help_text="The person's how-manieth trial of this phase, from 1.")
    lease_until = models.DateTimeField()
    opened = models.DateTimeField(auto_now_add=True)
    answered = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["participant", "state"], name="assignment_of_person"),
            models.Index(fields=["trial", "state"], name="assignment_of_trial"),
            models.Index(fields=["state", "lease_until"], name="assignment_lease"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "trial"],
                condition=models.Q(state__in=["open", "answered"]),
                name="trial_once_a_person",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["open", "answered", "expired", "returned", "set_aside"]),
                name="assignment_state_is_known",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="answered") | models.Q(answered__isnull=False),
                name="answered_has_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.participant_id} → {self.trial_id} ({self.state})"
