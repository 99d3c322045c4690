"""Studies for bots: small pictures and maps with real files, and every phase that a study can have."""

from typing import Any

import numpy as np

from annotation.models import Study
from annotation.publishing import Group, TrialItem, add_trials, create_study, publish
from tests.annotation import factories as make

CONSENT = "You look at **pictures**. You may stop at any time."
INTRODUCTION = [{"title": "What you see", "text": "A picture."}, {"title": "What you do", "text": "Say what fits."}]
EXIT = [
    {"name": "age", "kind": "number", "question": "How old are you?", "required": True},
    {"name": "easy", "kind": "scale", "question": "Was it easy?", "required": True},
    {"name": "device", "kind": "choice", "question": "On what?", "choices": ["a telephone", "a screen"]},
    {"name": "glasses", "kind": "truth", "question": "Do you wear glasses?", "required": False},
    {"name": "words", "kind": "text", "question": "Anything else?", "required": False},
]
CODES = {"completed": "DONE-1", "failed_checks": "CHECK-2", "screened_out": "OUT-3"}
PEOPLE = {"accounts": False, "open_link": True, "nickname": True, "prolific": False}
# What a right answer is, by kind, and what the trial's page says on top of it. Maps speak for themselves.
GOLD: dict[str, tuple[dict[str, Any] | None, str]] = {
    "reasonability": ({"necessary": "yes", "unnecessary": "no"}, "necessary: yes; unnecessary: no"),
    "preference": ({"choice": "first"}, ""),
    "team": ({"accept": "yes"}, "accept: yes"),
    "map_drawing": (None, ""),
}
LEFT, RIGHT, TOP = (np.s_[:, :3], np.s_[:, 3:], np.s_[:2, :])


def pictures(number: int) -> list[Any]:
    image_set = make.ImageSetFactory()
    return [make.ImageFactory(image_set=image_set, label=1) for _ in range(number)]


def bright(shown: list[Any], where: Any, **values: Any) -> Any:
    """A set of maps that are bright in one half."""
    maps = np.zeros((len(shown), 4, 6), dtype=np.float32)
    maps[(slice(None), *where)] = 1.0
    return make.explain(shown, maps=maps, **values)


def groups_of(kind: str, shown: list[Any], conditions: int) -> list[Group]:
    """As many conditions as asked for, in the form that the kind shows."""
    if kind == "map_drawing":
        return [Group("", ())]
    if kind == "preference":
        sets = [bright(shown, where) for where in (LEFT, RIGHT, TOP)][: max(conditions, 2)]
        return [Group(f"cell {index}", (sets[index], sets[(index + 1) % len(sets)])) for index in range(conditions)]
    first = bright(shown, LEFT)
    others = [
        bright(shown, where, classifier=first.classifier, method=f"other_{number}", predict=False)
        for number, where in enumerate((RIGHT, TOP))
    ]
    if kind == "team":
        return [Group("nothing"), Group("one", (first,)), Group("other", (others[0],))][:conditions]
    return [Group(f"way {number}", (item,)) for number, item in enumerate([first, *others][:conditions])]


def study(
    kind: str,
    *,
    images: int = 4,
    conditions: int = 1,
    practice: int = 0,
    qualification: int = 0,
    checks: int = 0,
    consent: bool = True,
    introduction: bool = True,
    questions: bool = True,
    live: bool = True,
    plan: dict[str, Any] | None = None,
    people: dict[str, Any] | None = None,
    **values: Any,
) -> Study:
    """A study of these phases, open to whoever has the link."""
    shown = pictures(images)
    values.setdefault("conditions", None if conditions > 1 else "together" if kind != "team" else "within")
    owner = make.researcher()
    made = create_study(
        kind=kind, name=f"{kind} for bots", title="Where does it look?", owner=owner, image_set=shown[0].image_set,
        images=shown, groups=groups_of(kind, shown, conditions if kind != "team" else max(conditions, 2)),
        consent=CONSENT if consent else "",
        plan={
            "introduction": INTRODUCTION if introduction else [],
            "qualification": {"pass_mark": 1.0, "tries": 2},
            "checks": {"allowed_misses": 0, "on_fail": "end"},
            "exit": EXIT if questions else [],
            "completion": {"codes": CODES},
            "people": PEOPLE | (people or {}),
        } | (plan or {}),
        **values,
    )  # fmt: skip
    answer, instruction = GOLD[kind]
    for phase, number in (("practice", practice), ("qualification", qualification), ("check", checks)):
        said = instruction or ("Which one is brighter on the left?" if answer else "")
        items = [TrialItem(shown[index % images], gold=answer, instruction=said) for index in range(number)]
        if items:
            add_trials(made, owner, phase, items)
    return publish(made, owner) if live else made
