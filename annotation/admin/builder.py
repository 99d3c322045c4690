"""The study builder: one form for a new study, for a draft, and for the texts of a live one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils.datastructures import MultiValueDict

from annotation import publishing
from annotation.admin import builder_plan as plans
from annotation.admin import builder_structure as structures
from annotation.admin import builder_team as teams
from annotation.admin.builder_names import Values, act, cleaned, line, put_rows, rows, typed
from annotation.admin.builder_values import values_of as design_values
from annotation.admin.sample_form import SampleView, sample_view
from annotation.errors import PlanInvalid, StudyRefused
from annotation.models import Study, StudyVersion
from annotation.plan import clean_plan
from annotation.redesign import redesign, rename
from annotation.studies import KINDS, Kind, kind_of
from annotation.trial_tables import TableInvalid, decoded
from harmony.inputs import Group as Lines
from harmony.inputs import Input
from mlcore.catalogue.fields import Field

FRESH = plans.FRESH | structures.FRESH
NAME = Field("name", "Name", "text", "", "For researchers.")
_DESIGN = {item.name for item in structures.DESIGN} | {"kind", "which", "most", "conditions", "mode", "balance"}
_DEFAULTS = {item.name: str(item.default) for item in structures.DESIGN}
FROZEN = ("qualification.", "checks.", "replace.")
MOST = {"name": 160, "title": 160, "task": 300}


class BuilderRefused(Exception):
    """The study cannot be kept as typed; the builder's `errors` and `refused` say why."""


@dataclass
class Builder:
    """Everything that the page shows; `study` is None while it is not made yet."""

    user: Any
    values: Values
    explanations: list[str]
    study: Study | None = None
    errors: dict[str, str] = field(default_factory=dict)
    refused: str = ""
    structure: structures.Structure | None = None

    @property
    def kind(self) -> Kind:
        if self.structure is not None:
            return self.structure.kind
        return kind_of(self.study) if self.study is not None else KINDS["reasonability"]

    @property
    def kinds(self) -> list[Kind]:
        return list(KINDS.values())

    @property
    def live(self) -> bool:
        return self.study is not None and self.study.state != Study.State.DRAFT

    @property
    def default_name(self) -> str:
        return f"{self.kind.title}: {self.structure.image_set}"[:160] if self.structure else ""

    def lines(self, fields: tuple[Field, ...], prefix: str = "") -> list[Input]:
        return [line(item, self.values, self.errors, prefix) for item in fields]

    @property
    def name_line(self) -> Input:
        return line(NAME, self.values, self.errors)

    @property
    def design(self) -> dict[str, Input]:
        return {item.name: item for item in self.lines(structures.DESIGN)}

    @property
    def team(self) -> list[Input]:
        """The lines of a team's images and phases; of a draft the trials of its phases stand on its page."""
        return self.lines(teams.DESIGN[: 1 if self.study is not None else None])

    @property
    def words(self) -> list[Input]:
        return self.lines(plans.TITLE)

    @property
    def settings(self) -> list[Input]:
        return self.lines(self.kind.fields, f"{self.kind.name}-")

    @property
    def pages(self) -> list[dict[str, Any]]:
        return self._rows("introduction", plans.PAGE, plans.GERMAN_PAGE)

    @property
    def questions(self) -> list[dict[str, Any]]:
        return self._rows("exit", plans.QUESTION, plans.GERMAN_QUESTION)

    def _rows(self, name: str, fields: tuple[Field, ...], german: tuple[Field, ...]) -> list[dict[str, Any]]:
        found = rows(self.values, name)
        return [
            {
                "number": number,
                "action": f"{name}.{number}",
                "lines": {item.name: line(item, self.values, self.errors, f"{name}.{number}.") for item in fields},
                "german": self.lines(german, f"{name}.{number}."),
                "first": number == 0,
                "last": number == len(found) - 1,
            }
            for number in range(len(found))
        ]

    @property
    def folds(self) -> dict[str, Lines]:
        """The sections that lie folded, each with what is in it; they open where something is wrong."""
        return {
            "consent": Lines("Consent", self.lines(plans.CONSENT)),
            "practice": Lines("Practice", self.lines(plans.PRACTICE)),
            "qualification": Lines("Qualification", self.lines(plans.QUALIFICATION)),
            "checks": Lines("Attention checks", self.lines(plans.CHECKS)),
            "completion": Lines("Completion", self.lines(plans.COMPLETION)),
            "people": Lines("Who may take part", self.lines(plans.PEOPLE)),
            "replace": Lines("Places", self.lines(plans.REPLACE)),
        }

    @property
    def german(self) -> dict[str, list[Input]]:
        texts = tuple(
            Field(f"de.{self.kind.name}-{item.name}", item.label, "text", "", f"In English: {item.default}")
            for item in self.kind.fields
            if item.kind == "text"
        )
        return {
            "head": self.lines(plans.GERMAN_TITLE) + self.lines(texts),
            "consent": self.lines(plans.GERMAN_CONSENT),
            "end": self.lines(plans.GERMAN_END),
        }

    @property
    def wrong(self) -> dict[str, bool]:
        """Which sections hold something wrong, so that they stand open."""

        def any_of(*heads: str) -> bool:
            return any(name.startswith(heads) and ".de." not in name for name in self.errors)

        return {
            "consent": any_of("consent"),
            "introduction": any_of("introduction"),
            "tests": any_of("practice", "qualification", "checks"),
            "exit": any_of("exit"),
            "completion": any_of("completion"),
            "people": any_of("people", "replace"),
            "german": any(name.startswith("de.") or ".de." in name for name in self.errors),
            "settings": any_of(f"{self.kind.name}-"),
        }

    @property
    def loose(self) -> list[str]:
        """Refusals of a part as a whole, which no control of the form stands for."""
        parts = ("introduction", "practice", "qualification", "checks", "exit", "completion", "people", "replace")
        return [self.errors[name] for name in (*parts, "completion.codes") if name in self.errors]

    @property
    def sample(self) -> SampleView | None:
        if self.structure is None:
            return None
        return sample_view(self.structure.design, self.values, sides=self.structure.mode)


def read(
    user: Any, data: MultiValueDict, files: Mapping[str, Any] | None = None, study: Study | None = None
) -> Builder:
    """The builder with what was typed. A table that was uploaded stands in its text area from then on."""
    values = typed(data)
    if study is not None and study.state != Study.State.DRAFT:
        # What cannot be changed any more is shown without controls, so that nothing of it was sent.
        values |= {name: value for name, value in _values_of(study)[0].items() if name.startswith(FROZEN)}
    explanations = [value for value in data.getlist("explanations") if value]
    errors: dict[str, str] = {}
    upload = (files or {}).get("lists_file")
    if upload is not None:
        try:
            values["lists_table"] = decoded(upload.read())
            values["lists_how"] = "table"
        except TableInvalid as refused:
            errors["lists_table"] = refused.sentence
    made = Builder(user, values, explanations, study, errors)
    _structure(made)
    return made


def shown_of(user: Any, study: Study) -> Builder:
    """The builder with what a study says and is now."""
    values, explanations = _values_of(study)
    made = Builder(user, values, explanations, study)
    _structure(made)
    return made


def _values_of(study: Study) -> tuple[Values, list[str]]:
    design, explanations = design_values(study)
    return plans.values_of(study.version, kind_of(study)) | design | {"name": study.name}, explanations


def change(made: Builder, action: str) -> None:
    """Carry out a button of the form that keeps nothing: a row more, a row less, another order, another kind."""
    if action == "regroup":
        made.explanations = structures.regroup(made.values, made.explanations)
        if made.values.get("kind") != "team":
            teams.forget(made.values)
    else:
        if action.startswith("groups.") and made.structure is not None:
            _write_groups(made)
        act(made.values, action, FRESH)
    made.errors = {}
    _structure(made)
    begin(made)


def begin(made: Builder) -> None:
    """Fill in what a new study of this kind begins with; what was typed stays."""
    found = made.structure
    if made.study is not None or found is None or not found.kind.alone_condition:
        return
    if not found.sets or "balance" in made.values:
        return
    teams.fill_in(made.values, found.balanced)
    _structure(made)


def keep(made: Builder, *, live: bool = False) -> Study:
    """A new study as typed, live at once where asked for. Raises BuilderRefused; then nothing was kept."""
    arguments = _arguments(made)
    with _refusals(made), transaction.atomic():
        study = publishing.create_study(owner=made.user, **arguments)
        if made.structure is not None and made.structure.balanced is not None:
            teams.add_trials(study, made.user, arguments["groups"], made.structure.balanced)
        return publishing.publish(study, made.user) if live else study


def save(made: Builder) -> tuple[Study, str]:
    """An existing study as typed, and what happened: "", "texts" (a new version) or "design" (a draft made anew).

    Raises BuilderRefused; then nothing was kept.
    """
    assert made.study is not None
    if _redesigned(made):
        arguments = _arguments(made)
        with _refusals(made):
            return redesign(made.study, made.user, **arguments), "design"
    texts = _texts(made)
    if made.errors:
        raise BuilderRefused
    name = made.values.get("name", "").strip() or made.study.name
    texts["title"], texts["task"] = texts["title"] or name, texts["task"] or str(made.kind.task)
    with _refusals(made), transaction.atomic():
        renamed = rename(made.study, made.user, name)
        old = made.study.version
        if all(texts[part] == _as_kept(old, part, texts) for part in texts):
            return made.study, "texts" if renamed else ""
        publishing.revise(made.study, made.user, **texts)
        return made.study, "texts"


def _as_kept(version: StudyVersion, part: str, texts: Mapping[str, Any]) -> Any:
    if part == "settings":
        return {name: version.settings.get(name) for name in texts["settings"]}
    if part == "plan":
        return clean_plan(version.plan)
    return getattr(version, part)


def _redesigned(made: Builder) -> bool:
    """Whether a draft's images, conditions or assignment were changed, or what needs its trials made anew."""
    if made.live or made.study is None or made.structure is None:
        return False
    shown, explanations = _values_of(made.study)
    class_shown = f"{made.kind.name}-shown_class"
    own = {name for name in made.values if name in _DESIGN or name.startswith("groups.") or name == class_shown}
    if made.structure.together and made.explanations != explanations:
        return True
    groups = {name for name in shown if name.startswith("groups.")} if not made.structure.together else set()
    return any(made.values.get(name, "").strip() != shown.get(name, _DEFAULTS.get(name, "")) for name in own | groups)


def _arguments(made: Builder) -> dict[str, Any]:
    """What `create_study` is called with besides the owner. Raises BuilderRefused."""
    assert made.structure is not None
    texts = _texts(made)
    arguments = made.structure.arguments() | texts
    if made.errors:
        raise BuilderRefused
    return arguments | {"name": made.values.get("name", "").strip() or made.default_name}


@contextmanager
def _refusals(made: Builder) -> Iterator[None]:
    """A refusal of the domain becomes one of the form: beside the control where it names one, else on top."""
    try:
        yield
    except PlanInvalid as refused:
        made.errors |= refused.errors
        raise BuilderRefused from refused
    except StudyRefused as refused:
        made.refused = refused.sentence
        raise BuilderRefused from refused


def _texts(made: Builder) -> dict[str, Any]:
    """Title, task, settings, plan, consent and translations; what is wrong goes into the builder's errors."""
    values, kind, errors = made.values, made.kind, made.errors
    for name, most in MOST.items():
        if len(values.get(name, "").strip()) > most:
            errors[name] = f"This is longer than {most} characters."
    consent = values.get("consent", "").strip()
    if len(consent) > 20_000:
        errors["consent"] = "The consent is longer than 20000 characters."
    german = plans.german_of(values, kind, errors)
    translations = {} if made.study is None else dict(made.study.version.translations)
    translations.pop(plans.GERMAN, None)
    return {
        "title": values.get("title", "").strip(),
        "task": values.get("task", "").strip(),
        "settings": cleaned(kind.fields, values, errors, f"{kind.name}-"),
        "plan": plans.plan_of(values, errors),
        "consent": consent,
        "translations": translations | ({plans.GERMAN: german} if german else {}),
    }


def _structure(made: Builder) -> None:
    if not made.live:
        made.structure = structures.build(made.user, made.values, made.explanations, made.errors, made.study)


def _write_groups(made: Builder) -> None:
    """Groups that were dealt by the form itself become typed ones, so that a row can be added to them."""
    assert made.structure is not None
    put_rows(
        made.values, "groups",
        [{"name": row.name} | {f"sets.{place}": pk for place, pk in enumerate(row.chosen)}
         for row in made.structure.groups],
    )  # fmt: skip
