"""A person in one study. Everywhere but here people are pseudonyms."""

from django.conf import settings
from django.db import models

from annotation.models.studies import Arm, Study, StudyVersion, TrialList
from mlcore.models.base import UUIDModel


class Participant(UUIDModel):
    class Kind(models.TextChoices):
        HUMAN = "human", "human"
        SIMULATED = "simulated", "simulated"
        IMPORTED = "imported", "imported"
        PREVIEW = "preview", "preview"  # a researcher who looks: takes nobody's place and is never counted

    class Phase(models.TextChoices):
        """Where on the way through the study (architecture, flow.py) the person stands."""

        CONSENT = "consent", "consent"
        INTRODUCTION = "introduction", "introduction"
        PRACTICE = "practice", "practice"
        QUALIFICATION = "qualification", "qualification"
        MAIN = "main", "main trials"
        EXIT = "exit", "exit questions"
        DONE = "done", "done"

    class Outcome(models.TextChoices):
        """How the participation ended; empty while it goes on."""

        COMPLETED = "completed", "completed"
        FAILED_CHECKS = "failed_checks", "failed the attention checks"
        SCREENED_OUT = "screened_out", "did not qualify"
        DECLINED = "declined", "did not consent"
        RETURNED = "returned", "stopped and gave the place back"
        TIMED_OUT = "timed_out", "ran out of time"

    VISIT = "visit:"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="participants")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="participations",
    )
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.HUMAN)
    number = models.PositiveIntegerField(default=0, help_text="The how-manieth person of the study, from 0.")
    pseudonym = models.CharField(max_length=40)
    nickname = models.CharField(max_length=40, blank=True, help_text="What the person is greeted by; never exported.")
    external_id = models.CharField(max_length=120, blank=True, help_text="Recruiting id; never exported.")
    session = models.JSONField(default=dict, help_text="What the recruiting site sent along; never exported.")
    arm = models.ForeignKey(Arm, null=True, blank=True, on_delete=models.PROTECT, related_name="participants")
    trial_list = models.ForeignKey(
        TrialList, null=True, blank=True, on_delete=models.PROTECT, related_name="participants"
    )
    order_offset = models.BigIntegerField(help_text="Where in the trials' random order this person starts.")
    phase = models.CharField(max_length=20, choices=Phase.choices, default=Phase.CONSENT)
    tries = models.PositiveSmallIntegerField(default=0, help_text="Qualification tries that were used up.")
    consent_at = models.DateTimeField(null=True, blank=True)
    consent_version = models.ForeignKey(
        StudyVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="consents"
    )
    outcome = models.CharField(max_length=20, choices=Outcome.choices, blank=True)
    completion_code = models.CharField(max_length=40, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    finished = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["study", "arm", "outcome"], name="participant_of_arm")]
        constraints = [
            models.UniqueConstraint(
                fields=["study", "user"], condition=~models.Q(kind="preview"), name="one_participation_a_person"
            ),
            models.UniqueConstraint(
                fields=["study", "user"], condition=models.Q(kind="preview"), name="one_preview_a_person"
            ),
            models.UniqueConstraint(fields=["study", "pseudonym"], name="pseudonym_once_a_study"),
            models.UniqueConstraint(
                fields=["study", "external_id"],
                condition=~models.Q(external_id=""),
                name="external_id_once_a_study",
            ),
            models.CheckConstraint(
                condition=models.Q(outcome="", finished__isnull=True)
                | (~models.Q(outcome="") & models.Q(finished__isnull=False, phase="done")),
                name="an_end_has_an_outcome_and_a_time",
            ),
        ]

    def __str__(self) -> str:
        return self.pseudonym

    @property
    def is_preview(self) -> bool:
        return self.kind == self.Kind.PREVIEW

    @property
    def is_recruited(self) -> bool:
        """Whether a recruiting site sent the person; one page load that became a guest has an id of another form."""
        return bool(self.external_id) and not self.external_id.startswith(self.VISIT)


class Invitation(UUIDModel):
    """A link for one person. The address is signed (annotation.invitations), so nothing secret is stored."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="invitations")
    label = models.CharField(max_length=120, blank=True, help_text="For the researcher's own list; never exported.")
    participant = models.OneToOneField(
        Participant, null=True, blank=True, on_delete=models.SET_NULL, related_name="invitation"
    )
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField(null=True, blank=True)
    revoked = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.label or f"invitation {self.pk}"


class ExitAnswers(models.Model):
    """What a person said to the exit questions; `values` maps a question's name to its value."""

    participant = models.OneToOneField(Participant, on_delete=models.CASCADE, related_name="exit_answers")
    version = models.ForeignKey(StudyVersion, on_delete=models.PROTECT, related_name="+")
    values = models.JSONField(default=dict)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "exit answers"

    def __str__(self) -> str:
        return f"exit answers of {self.participant_id}"
