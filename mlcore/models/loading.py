"""What a fixture may do to rows that are there already: nothing.

`loaddata` writes past `save`, finds rows by their natural key and would set each back to what it was when the fixture
was written: a live study to a draft, a trial's free places to all of them, a classifier to one without weights.
"""

from typing import Any

from django.db.models import Model

APPS = ("mlcore", "annotation")


def keep_what_is_there(sender: type[Model], instance: Any, raw: bool, using: str, **_: Any) -> None:
    """Receiver of `pre_save`: a row of ours that a fixture brings and that is there already keeps its values.

    Rows that refer to one another are written twice, the second time with the reference; what was new at the first
    time may be completed at the second.
    """
    if not raw or sender._meta.app_label not in APPS or not hasattr(sender, "natural_key"):
        return
    known = getattr(instance, "_was_there", None)
    if known is None:
        known = instance.pk is not None and sender._base_manager.using(using).filter(pk=instance.pk).exists()
        instance._was_there = known
    if known:
        there = sender._base_manager.using(using).get(pk=instance.pk)
        for field in sender._meta.concrete_fields:
            setattr(instance, field.attname, getattr(there, field.attname))
