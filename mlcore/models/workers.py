"""Workers report that they live by a row, because a solo pool answers no ping while a run goes on."""

from django.db import models


class Worker(models.Model):
    name = models.CharField(max_length=120, unique=True, help_text="host:pid")
    queues = models.CharField(max_length=120)
    device = models.CharField(max_length=80, blank=True)
    slot = models.CharField(
        max_length=160, blank=True, help_text="The device that it owns: host and device; runs there come one at a time."
    )
    started = models.DateTimeField(auto_now_add=True)
    seen = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
