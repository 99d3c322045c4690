"""How many people a study needs, what that costs, and how exact it makes a share. Pure functions.

The interval is the one over people (definitions §8): each person's share of a condition is one value, so that its
half-width is t_{P−1} · √(σ² + p(1−p)/n) / √P for P people with n answers each, a share p, and a spread σ between
people.
"""

import math
from dataclasses import dataclass

from mlcore.runs.student import t_quantile

LEVEL = 0.95
SPREAD = 0.1  # σ: how far people's own shares lie from each other, where nothing is known
MOST_PEOPLE = 1_000_000


@dataclass(frozen=True)
class Design:
    """What is asked of whom. `images` T, `groups` C conditions that a trial stands in, `answers_per_trial` k.

    `conditions` is together (one trial an image, C plays no part), within (everyone meets every condition) or between
    (each person meets one). `trials_per_person` None: as many as one person can meet.
    """

    images: int
    groups: int = 1
    conditions: str = "together"
    answers_per_trial: int = 1
    trials_per_person: int | None = None
    image_once: bool = False

    @property
    def arms(self) -> int:
        """Parts of the people that are filled apart from each other."""
        return self.groups if self.conditions == "between" else 1

    @property
    def trials(self) -> int:
        return self.images * (1 if self.conditions == "together" else self.groups)

    @property
    def met(self) -> int:
        """Trials that one person can meet at most."""
        once = self.conditions == "within" and not self.image_once
        return self.images * (self.groups if once else 1)

    @property
    def per_person(self) -> int:
        wanted = self.trials_per_person
        return self.met if wanted is None else max(min(wanted, self.met), 0)

    @property
    def per_condition(self) -> float:
        """Answers of one person about one condition, on average."""
        return self.per_person / (self.groups if self.conditions == "within" else 1)

    @property
    def answers(self) -> int:
        return self.trials * self.answers_per_trial


@dataclass(frozen=True)
class Need:
    """What a design asks for. Hours are people's visible time, `half_width` that of one condition's 95 % interval."""

    people: int
    people_per_arm: int
    answers: int
    minutes_per_person: float
    hours: float
    payment: float
    half_width: float | None


def people_needed(design: Design) -> int:
    """⌈T·C·k/n⌉, in every arm ⌈T·k/n⌉ where conditions stand between people; never fewer than k an arm.

    Nobody answers a trial twice, so k people are needed however many trials each of them takes. 0 for an empty design.
    """
    if design.per_person == 0:
        return 0
    of_an_arm = design.answers // design.arms
    return design.arms * max(-(-of_an_arm // design.per_person), design.answers_per_trial)


def need(
    design: Design, *, seconds: float = 20.0, rate: float = 0.0, share: float = 0.5, spread: float = SPREAD
) -> Need:
    """All figures of a design: `seconds` a trial, `rate` a person's hour, `share` the share that is to be measured."""
    people = people_needed(design)
    hours = design.answers * seconds / 3600
    per_arm = people // design.arms
    return Need(
        people=people,
        people_per_arm=per_arm,
        answers=design.answers,
        minutes_per_person=design.answers / people * seconds / 60 if people else 0.0,
        hours=hours,
        payment=hours * rate,
        half_width=half_width(per_arm, design.per_condition, share, spread),
    )


def half_width(people: int, answers: float, share: float = 0.5, spread: float = SPREAD) -> float | None:
    """Half of the 95 % interval of a share over `people` with `answers` each; None below two people or no answer."""
    if people < 2 or answers <= 0:
        return None
    deviation = math.sqrt(spread**2 + share * (1 - share) / answers)
    return t_quantile((1 + LEVEL) / 2, people - 1) * deviation / math.sqrt(people)


def people_for(width: float, answers: float, share: float = 0.5, spread: float = SPREAD) -> int | None:
    """The fewest people (of a condition) whose half-width is at most `width`; None where a million do not suffice."""

    def enough(people: int) -> bool:
        found = half_width(people, answers, share, spread)
        return found is not None and found <= width

    if width <= 0 or answers <= 0:
        return None
    most = 2
    while not enough(most):
        if most >= MOST_PEOPLE:
            return None
        most *= 2
    least = max(most // 2, 1)  # too few, or one person, who gives no interval
    if most == 2:
        return 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if enough(middle) else (middle, most)
    return most
