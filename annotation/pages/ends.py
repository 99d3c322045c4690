"""How a study ends for a person: one kind sentence for each way in which it can."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotation.models import Participant

Outcome = Participant.Outcome


@dataclass(frozen=True)
class End:
    """`tone` is good or empty; `rests`: nothing is over yet, the person may look in again."""

    heading: str | Promise
    sentence: str | Promise
    icon: str
    tone: str = ""
    rests: bool = False


ENDS = {
    Outcome.COMPLETED: End(
        _("That was the last one. Thank you."), _("All your answers are saved."), "check", tone="good"
    ),
    Outcome.FAILED_CHECKS: End(
        _("Thank you for taking part"),
        _("Some of the trials asked for one certain answer, and yours was another. For you the study ends here."),
        "closed",
    ),
    Outcome.SCREENED_OUT: End(
        _("Thank you for trying"),
        _("The trials before the study did not go well enough to go on. That happens; they are not easy."),
        "closed",
    ),
    Outcome.DECLINED: End(
        _("You did not agree to take part"), _("That is fine. Nothing was asked of you and nothing is kept."), "leave"
    ),
    Outcome.RETURNED: End(
        _("You stopped, and your place is free again"), _("Thank you for the time that you gave."), "leave"
    ),
    Outcome.TIMED_OUT: End(
        _("The time for this study is over"),
        _("Your place went to someone else. Thank you for the time that you gave."),
        "wait",
    ),
    "open": End(
        _("That was the last one. Thank you."),
        _("All your answers are saved. Should anything come back from others, you find it here."),
        "check",
        tone="good",
        rests=True,
    ),
    "none": End(
        _("Nothing is left to do here"),
        _("Others have answered everything in this study already. Thank you for looking in."),
        "check",
        rests=True,
    ),
    "closed": End(
        _("This study is closed"),
        _("No more answers are taken. Everything that was saved is kept. Thank you for your help."),
        "closed",
    ),
    "wait": End(
        _("Nothing is left for you just now"),
        _("Others are working on the remaining ones. Some may come back: look in again later."),
        "wait",
        rests=True,
    ),
}


def end_of(participant: Participant, step: str, answered: int) -> End:
    """How it ended: `step` is wait, done or closed; `answered` tells a person for whom nothing was left."""
    if participant.outcome:
        return ENDS[Outcome(participant.outcome)]
    if step == "done":
        return ENDS["open" if answered else "none"]
    return ENDS[step]
