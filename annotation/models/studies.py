"""A study, its frozen versions, its arms, and its trials with their stimuli."""

import secrets
from functools import cached_property

from django.conf import settings
from django.db import models

from mlcore.models import Explanation, Image, ImageSet
from mlcore.models.base import ImmutableModel, UUIDModel

RANDOM_KEY_BITS = 62


def random_key() -> int:
    """A key in [0, 2^62): orders trials at random, the same for everyone; a person starts at an offset of it."""
    return secrets.randbits(RANDOM_KEY_BITS)


def picture_name() -> str:
    """An unguessable name, so that a picture's address says nothing about its condition."""
    return secrets.token_hex(16)


class Study(UUIDModel):
    class State(models.TextChoices):
        DRAFT = "draft", "draft"
        LIVE = "live", "live"
        CLOSED = "closed", "closed"

    name = models.CharField(max_length=160)
    kind = models.CharField(max_length=40, help_text="A kind registered in annotation.studies.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    image_set = models.ForeignKey(ImageSet, on_delete=models.PROTECT, related_name="studies")
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT, db_index=True)
    seed = models.PositiveIntegerField(default=0)
    answers_per_trial = models.PositiveIntegerField(
        null=True, blank=True, help_text="k: each trial goes to this many people; empty: to everyone."
    )
    created = models.DateTimeField(auto_now_add=True)
    published = models.DateTimeField(null=True, blank=True)
    closed = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created"]
        verbose_name_plural = "studies"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["draft", "live", "closed"]), name="study_state_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(answers_per_trial__isnull=True) | models.Q(answers_per_trial__gt=0),
                name="study_k_is_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @cached_property
    def version(self) -> "StudyVersion":
        """The version under which people answer now."""
        newest = self.versions.order_by("-number").first()
        if newest is None:
            raise StudyVersion.DoesNotExist(f"Study {self.uuid} has no version.")
        return newest


class StudyVersion(ImmutableModel):
    """Texts and settings as they were when people answered; an answer points to the version it was given under."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=160)
    task = models.CharField(max_length=300, help_text="What is asked, in one line.")
    settings = models.JSONField(default=dict)
    consent = models.TextField(blank=True)
    consent_hash = models.CharField(max_length=64, blank=True)
    translations = models.JSONField(default=dict)
    created = models.DateTimeField(auto_now_add=True)

    class Meta(UUIDModel.Meta):
        abstract = False
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="version_number_once_a_study")]

    def __str__(self) -> str:
        return f"{self.study} v{self.number}"


class Arm(models.Model):
    """A condition between people."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="arms")
    name = models.CharField(max_length=80)
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["study", "name"], name="arm_name_once_a_study")]

    def __str__(self) -> str:
        return self.name


class Phase(models.TextChoices):
    PRACTICE = "practice", "practice"
    QUALIFICATION = "qualification", "qualification"
    MAIN = "main", "main"
    CHECK = "check", "check"


class Trial(UUIDModel):
    """One thing to answer. `claims_left` is the database's own guard against the k+1st answer."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="trials")
    arm = models.ForeignKey(Arm, null=True, blank=True, on_delete=models.CASCADE, related_name="trials")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="trials")
    phase = models.CharField(max_length=20, choices=Phase.choices, default=Phase.MAIN)
    context = models.JSONField(default=dict, help_text="What the page shows beside pictures: class name, prediction.")
    gold = models.JSONField(null=True, blank=True)
    random_key = models.BigIntegerField(default=random_key)
    claims_left = models.IntegerField(null=True, blank=True, help_text="Empty: unlimited.")

    class Meta:
        ordering = ["random_key"]
        indexes = [
            models.Index(fields=["study", "phase", "arm", "random_key"], name="trial_order"),
            # The next trial is found here: trials that are given away are not in it, so its cost does not grow
            # with the study.
            models.Index(
                fields=["study", "phase", "arm", "random_key"],
                condition=models.Q(claims_left__isnull=True) | models.Q(claims_left__gt=0),
                name="trial_free",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(claims_left__isnull=True) | models.Q(claims_left__gte=0),
                name="claims_never_below_zero",
            ),
            models.CheckConstraint(condition=models.Q(phase__in=Phase.values), name="trial_phase_is_known"),
        ]

    def __str__(self) -> str:
        return f"trial {self.pk}"


class Stimulus(UUIDModel):
    """One picture of a trial: a map under judgement. Its condition never reaches the annotator's browser."""

    trial = models.ForeignKey(Trial, on_delete=models.CASCADE, related_name="stimuli")
    slot = models.PositiveIntegerField()
    condition = models.CharField(max_length=80, blank=True)
    explanation = models.ForeignKey(Explanation, null=True, blank=True, on_delete=models.PROTECT)
    picture = models.CharField(max_length=40, default=picture_name, unique=True)

    class Meta:
        ordering = ["slot"]
        verbose_name_plural = "stimuli"
        constraints = [
            models.UniqueConstraint(fields=["trial", "slot"], name="slot_once_a_trial"),
            models.UniqueConstraint(
                fields=["trial", "condition"],
                condition=~models.Q(condition=""),
                name="condition_once_a_trial",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.trial_id}/{self.slot}"
