"""A study, its frozen versions, its arms, and its trials with their stimuli."""

import secrets
from functools import cached_property

from django.conf import settings
from django.db import models

from mlcore.models import Explanation, Image, ImageSet
from mlcore.models.base import ImmutableModel, NamedManager, UUIDModel

RANDOM_KEY_BITS = 62


def random_key() -> int:
    """A key in [0, 2^62): orders trials at random, the same for everyone; a person starts at an offset of it."""
    return secrets.randbits(RANDOM_KEY_BITS)


def picture_name() -> str:
    """An unguessable name, so that a picture's address says nothing about its condition."""
    return secrets.token_hex(16)


def study_picture_path(instance: "StudyPicture", filename: str) -> str:
    return f"studies/{instance.study.uuid}/{picture_name()}"


class Study(UUIDModel):
    class State(models.TextChoices):
        DRAFT = "draft", "draft"
        LIVE = "live", "live"
        CLOSED = "closed", "closed"

    class Mode(models.TextChoices):
        """Who is given which trials."""

        EVERYONE = "everyone", "everyone sees everything"
        K = "k", "k answers a trial"
        LISTS = "lists", "fixed lists"

    class Conditions(models.TextChoices):
        """How conditions meet people."""

        TOGETHER = "together", "side by side in one trial"
        WITHIN = "within", "within people: everyone meets every condition, one a trial"
        BETWEEN = "between", "between people: each person meets one condition"

    name = models.CharField(max_length=160)
    kind = models.CharField(max_length=40, help_text="A kind registered in annotation.studies.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    image_set = models.ForeignKey(ImageSet, on_delete=models.PROTECT, related_name="studies")
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT, db_index=True)
    seed = models.PositiveIntegerField(default=0)
    mode = models.CharField(max_length=10, choices=Mode.choices, default=Mode.EVERYONE)
    answers_per_trial = models.PositiveIntegerField(
        null=True, blank=True, help_text="k: each trial goes to this many people; empty: to everyone."
    )
    trials_per_person = models.PositiveIntegerField(
        null=True, blank=True, help_text="Main trials that one person answers; empty: as many as there are."
    )
    conditions = models.CharField(max_length=10, choices=Conditions.choices, default=Conditions.TOGETHER)
    image_once = models.BooleanField(
        default=False, help_text="Within people: nobody sees an image in a second condition."
    )
    blocks = models.PositiveSmallIntegerField(default=1, help_text="Trials of one block stay together.")
    rotate_blocks = models.BooleanField(default=False, help_text="Each person begins with the next block.")
    main_trials = models.PositiveIntegerField(default=0, help_text="Main trials that one person could meet at most.")
    current = models.OneToOneField(
        "StudyVersion", null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    join_key = models.CharField(max_length=40, default=picture_name, unique=True, editable=False)
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
            models.CheckConstraint(
                condition=models.Q(trials_per_person__isnull=True) | models.Q(trials_per_person__gt=0),
                name="study_trials_per_person_is_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(mode="k", answers_per_trial__isnull=False)
                | (models.Q(mode__in=["everyone", "lists"], answers_per_trial__isnull=True)),
                name="study_mode_says_who_answers",
            ),
            models.CheckConstraint(
                condition=models.Q(conditions__in=["together", "within", "between"]), name="study_conditions_are_known"
            ),
            models.CheckConstraint(condition=models.Q(blocks__gt=0), name="study_has_a_block"),
        ]

    def __str__(self) -> str:
        return self.name

    @cached_property
    def version(self) -> "StudyVersion":
        """The version under which people answer now."""
        newest = self.current or self.versions.order_by("-number").first()
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
    plan = models.JSONField(default=dict, help_text="The phases around the main trials: annotation.plan.")
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
    """A condition that a trial stands in: between people each person has one, within people everyone meets all."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="arms")
    name = models.CharField(max_length=80)
    position = models.PositiveIntegerField(default=0)
    main_trials = models.PositiveIntegerField(default=0)

    natural_columns = ("study__uuid", "name")
    objects = NamedManager()

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["study", "name"], name="arm_name_once_a_study")]

    def __str__(self) -> str:
        return self.name

    def natural_key(self) -> tuple[str, str]:
        return (str(self.study.uuid), self.name)


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
    gold = models.JSONField(
        null=True, blank=True, help_text="The right answer and what is said about it; never sent before the answer."
    )
    block = models.PositiveSmallIntegerField(default=0)
    random_key = models.BigIntegerField(default=random_key)
    claims_left = models.IntegerField(null=True, blank=True, help_text="Empty: unlimited.")

    class Meta:
        ordering = ["random_key"]
        indexes = [
            models.Index(fields=["study", "phase", "arm", "random_key"], name="trial_order"),
            # The next trial is found here: trials that are given away are not in it, so its cost does not grow
            # with the study.
            # Trials that the fewest people have had come first, so that all are filled evenly.
            models.Index(
                fields=["study", "phase", "arm", "block", "-claims_left", "random_key"],
                condition=models.Q(claims_left__isnull=True) | models.Q(claims_left__gt=0),
                name="trial_free_by_level",
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


class TrialList(models.Model):
    """A fixed list of trials: whoever holds it answers these, in this order."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="lists")
    number = models.PositiveIntegerField()

    natural_columns = ("study__uuid", "number")
    objects = NamedManager()

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="list_number_once_a_study")]

    def __str__(self) -> str:
        return f"list {self.number}"

    def natural_key(self) -> tuple[str, int]:
        return (str(self.study.uuid), self.number)


class ListEntry(models.Model):
    trial_list = models.ForeignKey(TrialList, on_delete=models.CASCADE, related_name="entries")
    trial = models.ForeignKey(Trial, on_delete=models.CASCADE, related_name="list_entries")
    position = models.PositiveIntegerField()

    natural_columns = ("trial_list__study__uuid", "trial_list__number", "position")
    objects = NamedManager()

    class Meta:
        ordering = ["position"]
        verbose_name_plural = "list entries"
        constraints = [
            models.UniqueConstraint(fields=["trial_list", "position"], name="position_once_a_list"),
            models.UniqueConstraint(fields=["trial_list", "trial"], name="trial_once_a_list"),
        ]

    def __str__(self) -> str:
        return f"{self.trial_list_id}/{self.position}"

    def natural_key(self) -> tuple[str, int, int]:
        return (*self.trial_list.natural_key(), self.position)


class StudyPicture(models.Model):
    """A picture of the introduction, written in its text as ![what one sees](picture:name)."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="pictures")
    name = models.SlugField(max_length=60)
    file = models.FileField(upload_to=study_picture_path, max_length=300)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()

    natural_columns = ("study__uuid", "name")
    objects = NamedManager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["study", "name"], name="picture_name_once_a_study")]

    def __str__(self) -> str:
        return self.name

    def natural_key(self) -> tuple[str, str]:
        return (str(self.study.uuid), self.name)


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
