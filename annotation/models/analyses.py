"""The figures of a study as a worker computed them: what needs large libraries never runs in a page's request."""

from django.db import models

from annotation.models.studies import Study
from mlcore.models.base import UUIDModel


def figure_path(instance: "AnalysisFigure", filename: str) -> str:
    return f"analyses/{instance.analysis.uuid}/{filename}"


class StudyAnalysis(UUIDModel):
    """One computation over the answers that were there; a new look at other answers is a new row.

    `fingerprint` says which answers of which people, by which options: the same never is computed twice.
    """

    class State(models.TextChoices):
        QUEUED = "queued", "queued"
        RUNNING = "running", "running"
        DONE = "done", "done"
        FAILED = "failed", "failed"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="analyses")
    kinds = models.JSONField(default=list, help_text="Whose answers: human, simulated, imported.")
    options = models.JSONField(default=dict)
    fingerprint = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    reason = models.TextField(blank=True, help_text="One line: what went wrong.")
    result = models.JSONField(default=dict)
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created"]
        verbose_name_plural = "study analyses"
        constraints = [
            models.UniqueConstraint(fields=["study", "fingerprint"], name="analysis_once_a_fingerprint"),
            models.CheckConstraint(
                condition=~models.Q(state="failed") | ~models.Q(reason=""), name="analysis_failed_says_why"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.study} ({self.state})"


class AnalysisFigure(models.Model):
    """A picture of an analysis as it is printed: one file a format."""

    analysis = models.ForeignKey(StudyAnalysis, on_delete=models.CASCADE, related_name="figures")
    name = models.SlugField(max_length=40)
    format = models.CharField(max_length=4, choices=[("svg", "SVG"), ("pdf", "PDF"), ("png", "PNG")])
    file = models.FileField(upload_to=figure_path, max_length=300)

    class Meta:
        ordering = ["name", "format"]
        constraints = [
            models.UniqueConstraint(fields=["analysis", "name", "format"], name="figure_once_a_format"),
        ]

    def __str__(self) -> str:
        return f"{self.name}.{self.format}"
