"""An answer, its revisions (append-only), and what it says: judgements of stimuli and a drawn map."""

from django.db import models

from annotation.models.assignments import Assignment
from annotation.models.studies import Stimulus, StudyVersion
from mlcore.models.base import UUIDModel


def drawn_map_path(instance: "DrawnMap", filename: str) -> str:
    return f"drawn/{instance.answer.uuid}/{instance.sha256}.png"


def draft_path(instance: "Draft", filename: str) -> str:
    return f"drafts/{instance.assignment.uuid}.png"


class Answer(UUIDModel):
    assignment = models.OneToOneField(Assignment, on_delete=models.CASCADE, related_name="answer")
    version = models.ForeignKey(StudyVersion, on_delete=models.PROTECT, related_name="answers")
    submission = models.UUIDField(unique=True, help_text="Made in the browser; a repeat returns the first result.")
    revision = models.PositiveIntegerField(default=1)
    duration_ms = models.PositiveIntegerField(null=True, blank=True, help_text="Visible time until sent.")
    events = models.JSONField(default=list)
    correct = models.BooleanField(null=True, blank=True, help_text="Against the trial's gold; empty: there is none.")
    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"answer {self.pk}"


class AnswerRevision(models.Model):
    """What was sent, as it was sent. Never changed, never removed but with the person."""

    answer = models.ForeignKey(Answer, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    submission = models.UUIDField(unique=True)
    version = models.ForeignKey(StudyVersion, on_delete=models.PROTECT, related_name="+")
    payload = models.JSONField(default=dict)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["answer", "number"], name="revision_number_once_an_answer")]

    def __str__(self) -> str:
        return f"{self.answer_id} r{self.number}"


class Judgement(models.Model):
    """One value of one question, about one stimulus or about the whole trial; exactly one typed column is set."""

    answer = models.ForeignKey(Answer, on_delete=models.CASCADE, related_name="judgements")
    stimulus = models.ForeignKey(Stimulus, null=True, blank=True, on_delete=models.CASCADE, related_name="judgements")
    question = models.CharField(max_length=60)
    truth = models.BooleanField(null=True, blank=True)
    number = models.FloatField(null=True, blank=True)
    text = models.TextField(null=True, blank=True)  # noqa: DJ001  NULL says "another column holds the value"

    class Meta:
        ordering = ["id"]
        constraints = [
            # Two conditional constraints: SQLite has no NULLS NOT DISTINCT.
            models.UniqueConstraint(
                fields=["answer", "stimulus", "question"],
                condition=models.Q(stimulus__isnull=False),
                name="stimulus_judged_once",
            ),
            models.UniqueConstraint(
                fields=["answer", "question"],
                condition=models.Q(stimulus__isnull=True),
                name="trial_judged_once",
            ),
            models.CheckConstraint(
                condition=(
                    models.Q(truth__isnull=False, number__isnull=True, text__isnull=True)
                    | models.Q(truth__isnull=True, number__isnull=False, text__isnull=True)
                    | models.Q(truth__isnull=True, number__isnull=True, text__isnull=False)
                ),
                name="judgement_has_one_value",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.question} = {self.value}"

    @property
    def value(self) -> bool | float | str | None:
        if self.truth is not None:
            return self.truth
        return self.number if self.number is not None else self.text


class DrawnMap(models.Model):
    """A palette PNG of exactly the image's size: 0 unknown, 1 important, 2 unimportant."""

    answer = models.OneToOneField(Answer, on_delete=models.CASCADE, related_name="drawn_map")
    file = models.FileField(upload_to=drawn_map_path, max_length=300)
    sha256 = models.CharField(max_length=64)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    share = models.FloatField(help_text="Share of pixels painted important.")
    strokes = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"


class Draft(models.Model):
    """Work that is not yet an answer: kept on the server too, so that another device can go on."""

    assignment = models.OneToOneField(Assignment, on_delete=models.CASCADE, related_name="draft")
    payload = models.JSONField(default=dict)
    file = models.FileField(upload_to=draft_path, max_length=300, blank=True)
    saved = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"draft of {self.assignment_id}"
