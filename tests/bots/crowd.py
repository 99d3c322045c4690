"""A crowd of bots plays two studies of three conditions each, on a bad line; then everything is counted.

Between people: `team`, each person in one of three arms, by an address with a recruiting id. Within people:
`preference`, each person in three cells, by an open link. Trials and people are chosen so that people × trials a
person = trials × answers a trial.
"""

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from annotation.models import Answer, AnswerRevision, Assignment, Participant, Study, Trial
from annotation.models.studies import Phase
from tests.bots.bot import Acknowledged, Bot
from tests.bots.browser import Line
from tests.bots.world import study

ARMS = 3


@dataclass(frozen=True)
class Size:
    """`thirds` people an arm and design; `each` trials a person; `k` answers a trial; `at_once` people at a time.

    `cut`: share of the requests whose line is cut after sending.
    """

    thirds: int
    between_each: int = 4
    between_k: int = 2
    within_each: int = 6
    within_k: int = 2
    at_once: int = 8
    cut: float = 0.05
    twice: float = 0.05
    looks: float = 0.1

    @property
    def people(self) -> int:
        return 2 * ARMS * self.thirds


# Enough trials for all who play at once, so that nobody has to wait for another and numbers come out exactly.
SMALL = Size(2, between_k=1, within_each=3, within_k=1, at_once=3)
FIFTY = Size(9, between_k=2, within_k=2, at_once=8)
THOUSAND = Size(167, between_k=4, within_k=6, at_once=16, looks=0.03)


@dataclass
class Result:
    """What became of the crowd. `checks`: name → (it holds, figures)."""

    people: int
    seconds: float
    line: Line
    checks: dict[str, tuple[bool, str]] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return all(good for good, _ in self.checks.values())

    def table(self) -> str:
        times = sorted(self.line.answers)
        rows = [
            ("people", f"{self.people}"),
            ("requests", f"{self.line.requests}"),
            ("cut after sending", f"{self.line.cuts}"),
            ("answers sent twice at once", f"{self.line.doubles}"),
            ("answers", f"{len(times)}"),
            ("seconds", f"{self.seconds:.0f}"),
            ("answer request p50, p95", f"{_quantile(times, 0.5):.0f} ms, {_quantile(times, 0.95):.0f} ms"),
            *((name, f"{'yes' if good else 'NO '}  {figures}") for name, (good, figures) in self.checks.items()),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _quantile(times: list[float], share: float) -> float:
    return 1000 * times[min(len(times) - 1, int(share * len(times)))] if times else math.nan


def make_studies(size: Size) -> tuple[Study, Study]:
    """The two studies, live. A third of the people share an arm's trials; all people share a cell's."""
    between = study(
        "team", images=size.thirds * size.between_each // size.between_k, conditions=ARMS,
        answers_per_trial=size.between_k, trials_per_person=size.between_each, practice=1,
        introduction=False, questions=False,
        people={"prolific": True, "open_link": False},
    )  # fmt: skip
    within = study(
        "preference", images=size.thirds * size.within_each // size.within_k, conditions=ARMS,
        answers_per_trial=size.within_k, trials_per_person=size.within_each, image_once=False, checks=1,
    )  # fmt: skip
    return between, within


def run(
    server: str, size: Size, *, seed: int = 0, progress: Callable[[int], None] | None = None
) -> tuple[Result, tuple[Study, Study]]:
    """Plays both studies with all people, some at a time, and checks what they left."""
    between, within = make_studies(size)
    line = Line(cut=size.cut)
    half = size.people // 2
    links = [
        f"/prolific/{between.join_key}/?PROLIFIC_PID=pid{number}&STUDY_ID=s&SESSION_ID=x" for number in range(half)
    ] + [f"/open/{within.join_key}/"] * half
    random.Random(seed).shuffle(links)
    jobs = list(enumerate(links))
    bots: list[Bot] = []
    errors: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not jobs or errors:
                    return
                number, link = jobs.pop()
            bot = Bot.make(server, f"{seed}/{number}", line, twice=size.twice, looks=size.looks)
            try:
                bot.play(bot.join(link))
            except Exception as error:
                with lock:
                    errors.append(f"person {number}: {type(error).__name__}: {error}")
            with lock:
                bots.append(bot)
                if progress is not None:
                    progress(len(bots))

    started = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(size.at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result = Result(size.people, time.perf_counter() - started, line)
    result.checks["every person came through"] = (
        not errors and not line.failures,
        "; ".join([*errors, *line.failures][:3]),
    )
    _check(result, size, bots, between, within)
    return result, (between, within)


def _check(result: Result, size: Size, bots: list[Bot], between: Study, within: Study) -> None:
    half = size.people // 2
    for name, made, each, k in (
        ("between", between, size.between_each, size.between_k),
        ("within", within, size.within_each, size.within_k),
    ):
        given = Counter(
            Assignment.objects.filter(trial__study=made, trial__phase=Phase.MAIN, state="answered").values_list(
                "trial", flat=True
            )
        )
        trials = Trial.objects.filter(study=made, phase=Phase.MAIN)
        total = trials.count()
        result.checks[f"{name}: people × trials = trials × k"] = (
            half * each == total * k == sum(given.values()),
            f"{half} × {each} = {total} × {k} = {sum(given.values())} answers",
        )
        spread = Counter(given.get(trial, 0) for trial in trials.values_list("pk", flat=True))
        places = set(trials.values_list("claims_left", flat=True))
        result.checks[f"{name}: exactly k answers on every trial"] = (
            set(spread) == {k} and places == {0},
            ", ".join(f"{number} trials with {answers}" for answers, number in sorted(spread.items())),
        )
        ends = Counter(Participant.objects.filter(study=made).values_list("outcome", flat=True))
        result.checks[f"{name}: everyone completed, once"] = (dict(ends) == {"completed": half}, str(dict(ends)))
    arms = Counter(Participant.objects.filter(study=between).values_list("arm__position", flat=True))
    result.checks["arms within one of each other"] = (
        len(arms) == ARMS and max(arms.values()) - min(arms.values()) <= 1,
        " ".join(str(arms[position]) for position in sorted(arms)),
    )
    _check_cells(result, within)
    _check_sides(result, within)
    _check_answers(result, [answer for bot in bots for answer in bot.answers])


def _check_cells(result: Result, made: Study) -> None:
    cells = list(made.arms.values_list("pk", flat=True))
    met: dict[int, Counter[int]] = {}
    rows = Assignment.objects.filter(trial__study=made, trial__phase=Phase.MAIN, state="answered")
    for person, arm in rows.values_list("participant", "trial__arm"):
        met.setdefault(person, Counter(dict.fromkeys(cells, 0)))[arm] += 1
    worst = max((max(one.values()) - min(one.values()) for one in met.values()), default=0)
    result.checks["cells within one of each other, for every person"] = (bool(met) and worst <= 1, f"worst {worst}")


def _check_sides(result: Result, made: Study) -> None:
    """Over what each person answered or holds; and the share of the whole study in its interval of 99.9 %."""
    sides: dict[int, list[int]] = {}
    rows = Assignment.objects.filter(trial__study=made, state__in=["open", "answered"])
    for person, order in rows.values_list("participant", "order"):
        sides.setdefault(person, []).append(order[0] == 0)
    worst = max((abs(2 * sum(one) - len(one)) for one in sides.values()), default=0)
    result.checks["sides within one of each other, for every person"] = (bool(sides) and worst <= 1, f"worst {worst}")
    left, all_ = sum(map(sum, sides.values())), sum(map(len, sides.values()))
    half_width = 3.2905 * math.sqrt(0.25 / all_) if all_ else 0.0
    result.checks["the first map's share of the left side"] = (
        bool(all_) and abs(left / all_ - 0.5) <= half_width,
        f"{left / max(all_, 1):.4f} (0.5 ± {half_width:.4f})",
    )


def _check_answers(result: Result, acknowledged: list[Acknowledged]) -> None:
    """Every acknowledged answer is kept as it was sent, and none is kept that nobody sent."""
    kept = {
        str(revision.submission): revision
        for revision in AnswerRevision.objects.select_related("answer__assignment").iterator()
    }
    wrong = []
    for one in acknowledged:
        revision = kept.get(one.submission)
        if revision is None:
            wrong.append(f"{one.submission} is lost")
        elif str(revision.answer.uuid) != one.answer or str(revision.answer.assignment.uuid) != one.assignment:
            wrong.append(f"{one.submission} belongs to another trial")
        elif not _same(one.payload, revision.payload["answer"]):
            wrong.append(f"{one.submission}: {one.payload} became {revision.payload['answer']}")
    rows = Answer.objects.count()
    result.checks["every acknowledged answer is kept as it was sent"] = (not wrong, "; ".join(wrong[:3]))
    result.checks["no answer is doubled"] = (
        rows == len(kept) == len(acknowledged) == len({one.assignment for one in acknowledged}),
        f"{len(acknowledged)} acknowledged, {rows} answers, {len(kept)} revisions",
    )


def _same(sent: Any, kept: Any) -> bool:
    return all(kept.get(name) == value for name, value in sent.items())
