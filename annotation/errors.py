"""What the study half refuses, in sentences for the person who can do something about it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from annotation.current import Current

_CLOSED = _("This study is closed. Thank you for your help.")
_ELSEWHERE = _("You answered this one in another window. Which one counts?")


class StudyRefused(ValueError):
    """A study cannot be made, published or closed as asked."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


class Told(Exception):
    """Carries a sentence for the person, which is put into words when it is read: in the language of the response."""

    def __init__(self, sentence: str | Promise) -> None:
        self._sentence = sentence
        super().__init__(sentence)

    @property
    def sentence(self) -> str:
        return str(self._sentence)


class StudyClosed(Told):
    """The study takes no answers: not published yet, or closed."""

    def __init__(self, sentence: str | Promise = _CLOSED) -> None:
        super().__init__(sentence)


class AnswerInvalid(ValueError):
    """What was sent is no answer; `errors` maps a field (`maps.1.quality`) to a sentence."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__(" ".join(self.errors.values()))


class AnswerConflict(Told):
    """The trial was answered elsewhere since this page was loaded; `current` is what stands now."""

    def __init__(self, current: "Current | None", sentence: str | Promise = _ELSEWHERE) -> None:
        self.current = current
        super().__init__(sentence)


class TrialTaken(AnswerConflict):
    """The lease ran out and the place went to someone else; nothing of one's own stands, `current` is None."""

    def __init__(self) -> None:
        super().__init__(None, _("Someone else has finished this one. Here is the next."))


class FeedbackRefused(ValueError):
    """Answers cannot become supervision as asked; `errors` maps a field to a sentence."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__(" ".join(self.errors.values()))


class PlanInvalid(ValueError):
    """The plan of a study cannot be kept; `errors` maps a part (`exit.2.question`) to a sentence."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__(" ".join(self.errors.values()))


class EntryRefused(Told):
    """Nobody can enter the study this way; `sentence` is for the person who came."""
