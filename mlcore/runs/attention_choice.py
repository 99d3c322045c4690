"""Which trained attention module a method reads where nobody names one."""

from mlcore.models import AttentionModule, Classifier


def newest_attention(classifier: Classifier, kind: str) -> AttentionModule | None:
    """The classifier's newest module of a kind ("tame", "l_cam"); None where it has none."""
    return classifier.attention_modules.filter(kind=kind).order_by("-created", "-pk").first()
