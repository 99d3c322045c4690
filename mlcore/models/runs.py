"""A run: a validated recipe and a frozen list of images, its state, its log and what it measured.

The row is the truth about a run, not the queue (architecture, Processes).
"""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models

from mlcore.models.base import UUIDModel
from mlcore.models.classifiers import Classifier
from mlcore.models.human_maps import HumanMapSet
from mlcore.models.images import Image, ImageSet
from mlcore.models.partitions import Part, Partition
from mlcore.models.supervision import SupervisionSet

if TYPE_CHECKING:
    from mlcore.models.explanations import ExplanationSet


class Run(UUIDModel):
    class Kind(models.TextChoices):
        TRAIN = "train", "train"
        EXPLAIN = "explain", "explain"
        EVALUATE = "evaluate", "evaluate"
        SCORE = "score", "score"
        LR_TEST = "lr_test", "learning-rate test"
        REPORT = "report", "interpretability report"
        CORRESPOND = "correspond", "classification by comparison"

    class State(models.TextChoices):
        QUEUED = "queued", "queued"
        CLAIMED = "claimed", "claimed"
        RUNNING = "running", "running"
        SUCCEEDED = "succeeded", "succeeded"
        FAILED = "failed", "failed"
        CANCELLED = "cancelled", "cancelled"

    OPEN = (State.QUEUED, State.CLAIMED, State.RUNNING)
    ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)

    name = models.CharField(max_length=160)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    recipe = models.JSONField(default=dict, help_text="Every option, validated against the catalogue.")
    seed = models.PositiveIntegerField(default=0)

    image_set = models.ForeignKey(ImageSet, on_delete=models.PROTECT, related_name="runs")
    partition = models.ForeignKey(Partition, null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    classifier = models.ForeignKey(
        Classifier, null=True, blank=True, on_delete=models.PROTECT, related_name="runs",
        help_text="The classifier that is tuned, explained or evaluated; empty: trained from an architecture.",
    )  # fmt: skip
    classifiers = models.ManyToManyField(
        Classifier, blank=True, related_name="reports", help_text="The classifiers that a report compares."
    )
    supervision = models.ForeignKey(
        SupervisionSet, null=True, blank=True, on_delete=models.PROTECT, related_name="runs"
    )
    explanation_sets = models.ManyToManyField(
        "mlcore.ExplanationSet", blank=True, related_name="runs",
        help_text="What an explain run fills, one set a method; what a score run judges.",
    )  # fmt: skip
    gallery = models.ForeignKey(
        ImageSet, null=True, blank=True, on_delete=models.PROTECT, related_name="compared_by",
        help_text="The images that a classification by comparison compares with; empty: those of its own set.",
    )  # fmt: skip
    human_maps = models.ForeignKey(
        HumanMapSet, null=True, blank=True, on_delete=models.PROTECT, related_name="runs",
        help_text="People's maps that a score run compares with.",
    )  # fmt: skip
    repeats = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="repeated_by")
    control = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="control_of",
        help_text="The same run without attention supervision, to compare with.",
    )  # fmt: skip

    manifest = models.JSONField(default=dict, help_text="Frozen: image UUIDs a part, with labels and hashes.")
    manifest_hash = models.CharField(max_length=64, blank=True)

    state = models.CharField(max_length=20, choices=State.choices, default=State.QUEUED, db_index=True)
    attempt = models.UUIDField(null=True, blank=True, help_text="Token of the worker that holds the run.")
    attempts = models.PositiveIntegerField(default=0)
    cancel_requested = models.BooleanField(default=False)
    heartbeat = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=120, blank=True)
    stage = models.CharField(max_length=80, blank=True)
    step = models.PositiveIntegerField(default=0)
    total_steps = models.PositiveIntegerField(default=0)
    seconds_left = models.FloatField(null=True, blank=True)
    checkpoint = models.CharField(max_length=300, blank=True, help_text="Folder of the newest checkpoint.")
    log = models.TextField(blank=True)
    reason = models.TextField(blank=True, help_text="One line: what went wrong, or why it was cancelled.")
    versions = models.JSONField(default=dict)
    device = models.CharField(max_length=80, blank=True)
    slot = models.CharField(max_length=160, blank=True, help_text="The device of the worker that holds the run.")
    result = models.JSONField(default=dict)
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["queued", "claimed", "running", "succeeded", "failed", "cancelled"]),
                name="run_state_is_known",
            ),
            models.CheckConstraint(
                condition=~models.Q(state__in=["claimed", "running"]) | models.Q(attempt__isnull=False),
                name="run_held_has_a_token",
            ),
            models.CheckConstraint(
                condition=~models.Q(state__in=["succeeded", "failed", "cancelled"]) | models.Q(ended__isnull=False),
                name="run_ended_has_a_time",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="failed") | ~models.Q(reason=""), name="run_failed_says_why"
            ),
            models.UniqueConstraint(
                fields=["slot"],
                condition=models.Q(state__in=["claimed", "running"]) & ~models.Q(slot=""),
                name="one_run_a_device",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def explanation_set(self) -> "ExplanationSet | None":
        """The first of the sets; the only one where a run has one method."""
        return self.explanation_sets.order_by("pk").first()


class RunMetric(models.Model):
    """One value of a curve."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metrics")
    step = models.PositiveIntegerField()
    epoch = models.FloatField()
    part = models.CharField(max_length=20, choices=Part.choices)
    name = models.CharField(max_length=60)
    value = models.FloatField()

    class Meta:
        ordering = ["step"]
        constraints = [models.UniqueConstraint(fields=["run", "name", "part", "step"], name="metric_once_a_step")]

    def __str__(self) -> str:
        return f"{self.name}@{self.step} = {self.value}"


class Score(models.Model):
    """A metric of a classifier (and, where it judges maps, of a method) on one part of a partition."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="scores")
    classifier = models.ForeignKey(Classifier, on_delete=models.CASCADE, related_name="scores")
    partition = models.ForeignKey(Partition, null=True, on_delete=models.CASCADE, related_name="scores")
    explanation_set = models.ForeignKey(
        "mlcore.ExplanationSet", null=True, blank=True, on_delete=models.CASCADE, related_name="scores",
        help_text="The maps that were judged by a score run.",
    )  # fmt: skip
    part = models.CharField(max_length=20, choices=[*Part.choices, ("all", "all images")])
    metric = models.CharField(max_length=60)
    value = models.FloatField(null=True)
    low = models.FloatField(null=True, help_text="Lower end of the 95 % interval over images.")
    high = models.FloatField(null=True, help_text="Upper end.")
    n = models.PositiveIntegerField(default=0)
    left_out = models.JSONField(default=dict, help_text="Reason → number of images left out of the mean.")
    per_image = models.JSONField(default=dict, help_text="Image UUID → value.")
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["metric"]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "classifier", "part", "metric"],
                condition=models.Q(explanation_set__isnull=True),
                name="score_once_a_run",
            ),
            models.UniqueConstraint(
                fields=["run", "explanation_set", "part", "metric"],
                condition=models.Q(explanation_set__isnull=False),
                name="score_once_a_set_and_run",
            ),
        ]
        indexes = [models.Index(fields=["explanation_set", "metric"], name="scores_of_a_set")]

    def __str__(self) -> str:
        return f"{self.metric} ({self.part}) = {self.value}"


class Prediction(models.Model):
    """What a classifier says about an image; written by explain and evaluate runs, the newest replaces."""

    classifier = models.ForeignKey(Classifier, on_delete=models.CASCADE, related_name="predictions")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="predictions")
    label = models.PositiveIntegerField()
    confidence = models.FloatField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["classifier", "image"], name="prediction_once_an_image")]

    def __str__(self) -> str:
        return f"{self.image_id}: {self.label} ({self.confidence:.2f})"
