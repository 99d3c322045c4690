"""The sample-size helper as researchers see it: what a design needs, and the people for an interval that is wanted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotation.admin.builder_names import cleaned, line
from annotation.models import Study
from annotation.models.studies import Phase
from annotation.sample_size import SPREAD, Design, Need, need, people_for
from harmony.inputs import Input
from mlcore.catalogue.fields import Field

FIELDS = (
    Field("sample.seconds", "Seconds a trial", "float", 20.0, "", 0.1, 3600),
    Field("sample.rate", "Payment an hour", "float", 12.0, "In your currency.", 0, 10_000),
    Field("sample.share", "Share to be measured (%)", "float", 50.0, "50 % is the hardest.", 0, 100),
    Field("sample.spread", "Spread between people (points)", "float", 100 * SPREAD, "Standard deviation.", 0, 50),
    Field("sample.width", "Wanted: ± points", "float", 5.0, "Half of the 95 % interval over people.", 0.1, 50),
)


@dataclass(frozen=True)
class SampleView:
    """The helper's lines and figures; `wanted` is None where no number of people gives the interval."""

    inputs: list[Input]
    design: Design
    need: Need
    width: float
    wanted: int | None
    everyone: bool

    @property
    def arms(self) -> int:
        return self.design.arms

    @property
    def wanted_in_all(self) -> int | None:
        return None if self.wanted is None else self.wanted * self.design.arms


def sample_view(design: Design, values: Mapping[str, str], *, sides: str = Study.Mode.K) -> SampleView:
    """The figures for this design under what was typed in the helper's own lines."""
    errors: dict[str, str] = {}
    typed: dict[str, Any] = cleaned(FIELDS, values, errors)
    share, spread = typed["sample.share"] / 100, typed["sample.spread"] / 100
    width = typed["sample.width"]
    return SampleView(
        inputs=[line(item, values, errors) for item in FIELDS],
        design=design,
        need=need(
            design, seconds=typed["sample.seconds"], rate=typed["sample.rate"], share=share, spread=spread
        ),
        width=width,
        wanted=people_for(width / 100, design.per_condition, share, spread),
        everyone=sides == Study.Mode.EVERYONE,
    )  # fmt: skip


def design_of(study: Study) -> Design:
    """The design of a study that is made already: its own images, arms and numbers; two queries."""
    main = study.trials.filter(phase=Phase.MAIN)
    together = study.conditions == Study.Conditions.TOGETHER
    return Design(
        images=main.values("image").distinct().count(),
        groups=1 if together else max(study.arms.count(), 1),
        conditions=study.conditions,
        answers_per_trial=study.answers_per_trial or 1,
        trials_per_person=study.trials_per_person,
        image_once=study.image_once,
    )
