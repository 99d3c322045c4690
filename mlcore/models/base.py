"""What exported rows share: a UUID as natural key, so that a fixture loads into any installation.

Rows without a UUID that belong to one are found by their owner's UUID and what tells them apart there.
"""

import uuid
from typing import Any, ClassVar, Self

from django.db import models


class UUIDManager(models.Manager):
    """Finds a row by the UUID that stands in fixtures."""

    def get_by_natural_key(self, value: str) -> Any:
        return self.get(uuid=value)


class UUIDModel(models.Model):
    """A row with a UUID beside its primary key."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)

    objects: ClassVar[UUIDManager] = UUIDManager()

    class Meta:
        abstract = True

    def natural_key(self: Self) -> tuple[str]:
        return (str(self.uuid),)


class NamedManager(models.Manager):
    """Finds a row by the columns that its model's `natural_columns` names."""

    def get_by_natural_key(self, *values: Any) -> Any:
        columns = self.model.natural_columns  # type: ignore[attr-defined]
        return self.get(**dict(zip(columns, values, strict=True)))


class ImmutableError(Exception):
    """Raised when a row that must not change is saved again."""


class ImmutableModel(UUIDModel):
    """A row that is written once; a change is a new row."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None and not self._state.adding:
            raise ImmutableError(f"A {self._meta.verbose_name} is never changed: make a new one.")
        super().save(*args, **kwargs)
