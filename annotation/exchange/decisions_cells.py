"""One cell of a table of decisions as a value. Every reader raises ValueError with the end of a sentence."""

from __future__ import annotations

from annotation.models import Participant
from annotation.models.studies import Phase
from annotation.studies.team import SCALE
from mlcore.exchange.readers import MAX_NAME

MOST_NAME = 200
MOST_CONDITION = 80  # of an arm's name
MOST_NUMBER = 2**31 - 1  # what both databases keep
TRUE = frozenset({"1", "1.0", "true", "t", "yes", "y", "ja", "correct", "right", "accept", "accepted", "agree"})
FALSE = frozenset({"0", "0.0", "false", "f", "no", "n", "nein", "incorrect", "wrong", "reject", "rejected", "disagree"})
PHASES = {
    "practice": Phase.PRACTICE, "training": Phase.PRACTICE, "train": Phase.PRACTICE, "tutorial": Phase.PRACTICE,
    "qualification": Phase.QUALIFICATION, "validation": Phase.QUALIFICATION, "screening": Phase.QUALIFICATION,
    "main": Phase.MAIN, "test": Phase.MAIN, "testing": Phase.MAIN, "experiment": Phase.MAIN,
    "check": Phase.CHECK, "attention": Phase.CHECK, "attention_check": Phase.CHECK, "catch": Phase.CHECK,
}  # fmt: skip


def name(text: str) -> str:
    """Words of at most 200 characters, on one line."""
    return _words(text, MOST_NAME)


def image_name(text: str) -> str:
    """What an image is called: a path, or a number."""
    return _words(text, MAX_NAME)


def condition(text: str) -> str:
    """A condition's name, as long as a study's may be."""
    return _words(text, MOST_CONDITION)


def _words(text: str, most: int) -> str:
    if len(text) > most:
        raise ValueError(f"it has {len(text)} characters; at most {most} are taken")
    if not text.isprintable():
        raise ValueError("it holds a character that cannot be printed")
    return text


def truth(text: str) -> bool:
    """1 or 0, true or false, yes or no, right or wrong, accept or reject, and their beginnings."""
    said = text.lower()
    if said in TRUE:
        return True
    if said in FALSE:
        return False
    raise ValueError(f"“{text[:40]}” is neither true nor false")


def number(text: str) -> float:
    """A number that is not negative; with a decimal comma, or a sign of per cent behind it, too."""
    plain = text.removesuffix("%").strip()
    try:
        value = float(plain.replace(",", ".", 1) if "." not in plain else plain)
    except ValueError:
        raise ValueError(f"“{text[:40]}” is not a number") from None
    if not 0 <= value <= MOST_NUMBER:  # NaN is not either
        raise ValueError(f"{text[:40]} does not lie between 0 and {MOST_NUMBER:,}")
    return value


def time(text: str) -> float:
    """A time that is not negative, in whatever unit the column has."""
    return number(text)


def count(text: str) -> int:
    """A whole number from 1 on."""
    value = number(text)
    if value != int(value) or value < 1:
        raise ValueError(f"“{text[:40]}” is not a whole number from 1 on")
    return int(value)


def sure(text: str) -> int:
    """How sure somebody was, from 1 to 5."""
    value = number(text)
    if value not in SCALE:
        raise ValueError(f"“{text[:40]}” is not a whole number from {SCALE[0]} to {SCALE[-1]}")
    return int(value)


def phase(text: str) -> str:
    """A phase by the names that studies give it."""
    found = PHASES.get(text.lower().replace(" ", "_").replace("-", "_"))
    if found is None:
        raise ValueError(f"“{text[:40]}” is no phase; known: practice, qualification, main, check")
    return str(found)


def kind(text: str) -> str:
    """Simulated people stay what they are; whoever else it was is imported here."""
    said = text.lower()
    if said == Participant.Kind.SIMULATED:
        return str(Participant.Kind.SIMULATED)
    if said in (Participant.Kind.HUMAN, Participant.Kind.IMPORTED):
        return str(Participant.Kind.IMPORTED)
    raise ValueError(f"“{text[:40]}” is none of human, simulated, imported")
