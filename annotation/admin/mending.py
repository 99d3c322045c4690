"""What keeps a draft from going live, each with the page that mends it."""

from dataclasses import dataclass

from django.urls import reverse

from annotation import publishing
from annotation.models import Study

# Words of a refusal → where it is mended: a page of the study's admin and the part of it.
_WHERE = (
    (("qualification trial", "check trial", "attention checks than"), "trials", ""),
    (("completion code", "needs a code"), "edit", "#completion"),
    (("Nobody can enter",), "edit", "#people"),
    (("trials per person", "no trials", "Condition"), "edit", "#builder-design"),
)


@dataclass(frozen=True)
class Problem:
    """A sentence, and the address where something can be done about it."""

    sentence: str
    address: str


def problems(study: Study) -> list[Problem]:
    """`publishing.problems` with links."""
    return [Problem(sentence, _address(study, sentence)) for sentence in publishing.problems(study)]


def _address(study: Study, sentence: str) -> str:
    for words, page, part in _WHERE:
        if any(word in sentence for word in words):
            return reverse(f"admin:annotation_study_{page}", args=[study.pk]) + part
    return reverse("admin:annotation_study_edit", args=[study.pk])
