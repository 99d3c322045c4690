"""What the study half refuses, in sentences for the person who can do something about it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annotation.drafts import Current


class StudyRefused(ValueError):
    """A study cannot be made, published or closed as asked."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


class StudyClosed(Exception):
    """The study takes no answers: not published yet, or closed."""

    def __init__(self, sentence: str = "This study is closed. Thank you for your help.") -> None:
        self.sentence = sentence
        super().__init__(sentence)


class AnswerInvalid(ValueError):
    """What was sent is no answer; `errors` maps a field (`maps.1.quality`) to a sentence."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__(" ".join(self.errors.values()))


class AnswerConflict(Exception):
    """The trial was answered elsewhere since this page was loaded; `current` is what stands now."""

    def __init__(
        self, current: "Current | None", sentence: str = "You answered this one in another window. Which one counts?"
    ) -> None:
        self.current = current
        self.sentence = sentence
        super().__init__(sentence)


class TrialTaken(AnswerConflict):
    """The lease ran out and the place went to someone else; nothing of one's own stands, `current` is None."""

    def __init__(self) -> None:
        super().__init__(None, "Someone else has finished this one. Here is the next.")


class FeedbackRefused(ValueError):
    """Answers cannot become supervision as asked; `errors` maps a field to a sentence."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__(" ".join(self.errors.values()))
