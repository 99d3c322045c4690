"""Who changed what, when, before and after. Written by the action that changes, in the same transaction."""

from typing import Any

from django.conf import settings
from django.db import models


class AuditEntry(models.Model):
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=60)
    object_id = models.CharField(max_length=64, help_text="UUID of the object.")
    object_name = models.CharField(max_length=200, blank=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["object_type", "object_id"])]

    def __str__(self) -> str:
        return f"{self.action} {self.object_type} {self.object_name}"

    @classmethod
    def write(
        cls, actor: Any, action: str, obj: Any, before: dict | None = None, after: dict | None = None
    ) -> "AuditEntry":
        """Writes the row; `obj` needs a `uuid`. Call inside the transaction of the change itself."""
        return cls.objects.create(
            actor=actor if actor is not None and getattr(actor, "pk", None) else None,
            action=action,
            object_type=obj._meta.model_name,
            object_id=str(obj.uuid),
            object_name=str(obj)[:200],
            before=before or {},
            after=after or {},
        )
