"""What the answer and draft endpoints take. What an answer must say is checked by the study's kind."""

from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework import serializers

LEAST, MOST = 0, 1_000_000_000


class DrawingField(serializers.FileField):
    """A PNG as bytes, refused by its size before it is read; None where there is none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, allow_empty_file=True, default=None, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        upload = super().to_internal_value(data)
        most = settings.MAX_DRAWING_BYTES
        if upload.size > most:
            raise serializers.ValidationError(_("The drawing is larger than %d MB.") % (most // (1024 * 1024)))
        return upload.read() or None


class AnswerSerializer(serializers.Serializer):
    """JSON, or multipart with `payload` and `events` as JSON text and the file `drawing`."""

    submission = serializers.UUIDField()
    payload = serializers.JSONField()
    drawing = DrawingField()
    duration_ms = serializers.IntegerField(min_value=LEAST, max_value=MOST, allow_null=True, default=None)
    events = serializers.JSONField(required=False)
    base_revision = serializers.IntegerField(min_value=LEAST, allow_null=True, default=None)


class DraftSerializer(serializers.Serializer):
    payload = serializers.JSONField()
    drawing = DrawingField()


class BeaconSerializer(serializers.Serializer):
    """A draft as a page hands it over when it goes: `payload` as JSON text, never a drawing."""

    payload = serializers.JSONField()
