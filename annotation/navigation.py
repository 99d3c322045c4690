"""Where a person is sent: the address of each step of the way through a study, and the one back to where they came
from."""

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from django.urls import reverse

from annotation.flow import Step
from annotation.models import Participant
from annotation.plan import default_plan

# Steps that are a page of their own; every other one (wait, done, closed) is told on the study's last page.
_PAGES = {
    "consent": "study-consent",
    "introduction": "study-introduction",
    "again": "study-again",
    "exit": "study-exit",
}
PROLIFIC = "https://app.prolific.com/submissions/complete"


def address_of(step: Step, participant: Participant) -> str:
    """The page on which the person takes this step."""
    if step.assignment is not None:
        return reverse("trial", args=[step.assignment.uuid])
    return reverse(_PAGES.get(step.kind, "study-end"), args=[participant.study.uuid])


def return_address(participant: Participant) -> str:
    """Where a finished person goes back to, with their completion code; empty where there is nowhere to go.

    The code takes the place of `{code}` in the researcher's address, or becomes its parameter `cc`, as Prolific
    reads it. Without an address of the researcher's own, people from Prolific go back to Prolific.
    """
    plan = participant.study.version.plan or default_plan()
    address, code = plan["completion"]["return_url"], participant.completion_code
    if not participant.outcome:
        return ""
    if not address:
        recruited = plan["people"]["prolific"] and participant.is_recruited
        if not (recruited and code):
            return ""
        address = PROLIFIC
    if "{code}" in address:
        return address.replace("{code}", quote(code, safe=""))
    if not code:
        return address
    parts = urlsplit(address)
    asked = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "cc"]
    return urlunsplit(parts._replace(query=urlencode([*asked, ("cc", code)])))
