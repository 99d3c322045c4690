"""How many SQL queries each page of an annotator costs: a baseline that is checked in, and that no size changes.

A page that is read costs at most 12. What is sent costs what it writes and, in the same request, the claim of the
next trial, so that nobody waits for a second one: the limit of both together is higher.

Counted are statements that read or write rows; the brackets of transactions are not. After a change that is meant,
write the baseline anew and look at the difference:

    HARMONY_WRITE_QUERY_COUNTS=1 python -m pytest tests/annotation/test_query_counts.py
"""

import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model, UUIDField
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotation.api.pictures import _rendered
from annotation.candidates import next_trial
from annotation.models import Assignment, Participant, Stimulus, Study, Trial
from annotation.models.studies import RANDOM_KEY_BITS, Phase
from tests.annotation import factories as make
from tests.bots.world import study

pytestmark = pytest.mark.django_db

BASELINE = Path(__file__).with_name("query_counts.json")
REWRITE = os.environ.get("HARMONY_WRITE_QUERY_COUNTS") == "1"
MOST_READ, MOST_SENT = 12, 20
KINDS = {
    "reasonability": {"maps": [{"position": 0, "necessary": True, "unnecessary": False, "quality": 4}]},
    "preference": {"choice": "a"},
    "team": {"accept": True},
    "map_drawing": {"strokes": [], "nothing": True},
}
BRACKETS = re.compile(r"^(BEGIN|COMMIT|SAVEPOINT|RELEASE|ROLLBACK|SET )", re.I)


@pytest.fixture(autouse=True)
def _from_the_start(monkeypatch):
    """Everyone starts at the first trial and meets conditions in one order: from a place behind the last trial, or with
    a condition whose images were met already, a claim has to look once more."""
    monkeypatch.setattr("annotation.entry._offset", lambda study, number: 0)
    in_order = SimpleNamespace(sample=lambda rows, number: list(rows)[:number])
    monkeypatch.setattr("annotation.candidates.random", SimpleNamespace(Random=lambda seed: in_order))


class Visitor:
    """Asks for pages and counts what they cost. Every count is of the second visit, when nothing is remembered anew."""

    def __init__(self, user: Any) -> None:
        self.client = Client()
        self.client.force_login(user)
        self.counts: dict[str, int] = {}
        self.most: dict[str, int] = {}

    def get(self, name: str, path: str, status: int = 200) -> Any:
        return self._counted(name, lambda: self.client.get(path), status, reads=True)

    def post(self, name: str, path: str, values: dict[str, Any], status: int = 200) -> Any:
        return self._counted(name, lambda: self.client.post(path, values), status)

    def put(self, name: str, path: str, values: dict[str, Any]) -> Any:
        def send() -> Any:
            return self.client.put(path, json.dumps(values), content_type="application/json")

        return self._counted(name, send, 200)

    def _counted(self, name: str, ask: Any, status: int, *, reads: bool = False) -> Any:
        with CaptureQueriesContext(connection) as captured:
            reply = ask()
        assert reply.status_code == status, (name, reply.status_code, reply.content[:300])
        self.counts[name] = sum(not BRACKETS.match(query["sql"]) for query in captured.captured_queries)
        self.most[name] = MOST_READ if reads else MOST_SENT
        return reply


def grow(made: Study, trials: int, *, whole: bool = True) -> None:
    """Main trials until there are so many. They share a few pictures, and half of them were given away; only where
    they are `whole` do they have stimuli."""
    by_arm: dict[int | None, list[Trial]] = {}
    for trial in made.trials.filter(phase=Phase.MAIN).order_by("arm", "image"):
        by_arm.setdefault(trial.arm_id, []).append(trial)
    # Each condition repeats another image, so that none is used up by an image that was met in another one.
    templates = [trials[place % len(trials)] for place, trials in enumerate(by_arm.values())]
    missing = trials - made.trials.filter(phase=Phase.MAIN).count()
    step = 2**RANDOM_KEY_BITS // (missing + 1)
    k = made.answers_per_trial or "NULL"
    for place, template in enumerate(templates):
        before = Trial.objects.latest("pk").pk
        _copy(
            Trial, f"old.id = {template.pk}", len(range(place, missing, len(templates))),
            random_key=f"(n * {len(templates)} + {place + 1}) * CAST({step} AS bigint)",
            claims_left=f"CASE n % 2 WHEN 1 THEN {k} ELSE 0 END",
        )  # fmt: skip
        if whole:
            grown = f"old.trial_id = {template.pk} AND new.id > {before}"
            _copy(Stimulus, grown, 1, trial_id="new.id", beside="annotation_trial AS new")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _copy(model: type[Model], where: str, times: int, *, beside: str = "", **changes: str) -> None:
    """Rows `old` of the model again, `n` times from 0, by the database alone: through Python that takes minutes."""
    fresh = "gen_random_uuid()" if connection.vendor == "postgresql" else "lower(hex(randomblob(16)))"
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    for field in fields:
        if field.unique:
            changes[field.column] = fresh if isinstance(field, UUIDField) else f"CAST({fresh} AS text)"
    columns = [field.column for field in fields]
    values = [changes.get(name, f"old.{name}") for name in columns]
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {times}) "
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
            f"FROM {', '.join(filter(None, [f'{table} AS old', 'numbers', beside]))} WHERE {where}"
        )


def pages_of(kind: str, made: Study) -> Visitor:
    """Every page of the way through a study, in its order; the names begin with the kind where it matters."""
    user = make.annotator()
    visitor = Visitor(user)
    here = f"/studies/{made.uuid}/"
    visitor.get("study, entering", here, 302)
    # From the start of the random order, so that no second look, around its end, comes in by chance.
    Participant.objects.filter(user=user).update(order_offset=0)
    visitor.get("consent", f"{here}consent/")
    visitor.post("consent, given", f"{here}consent/", {"consent": "yes"}, 302)
    visitor.get("introduction", f"{here}introduction/?page=2")
    visitor.post("introduction, ended", f"{here}introduction/", {}, 302)
    first = Assignment.objects.get(participant__user=user, state="open")
    visitor.get("home", "/")
    if first.trial.phase == Phase.QUALIFICATION:
        answer(visitor, kind, first, wrong=True)
        visitor.get("again", f"{here}again/")
        visitor.post("again, begun", f"{here}again/", {}, 302)
        answer(visitor, kind, Assignment.objects.get(participant__user=user, state="open"))
    for _ in range(2):
        page = Assignment.objects.get(participant__user=user, state="open")
        assert page.trial.phase == Phase.MAIN
        visitor.get("study, going on", here, 302)
        visitor.get(f"trial of {kind}", f"/trials/{page.uuid}/")
        visitor.get(f"pictures ahead of {kind}", f"/api/trials/{page.uuid}/ahead/")
        visitor.get("picture", f"/pictures/of/{page.trial.uuid}/")
        visitor.get("thumbnail", f"/trials/{page.uuid}/thumbnail/")
        stimulus = page.trial.stimuli.exclude(explanation=None).first()
        if stimulus is not None:
            _rendered.cache_clear()  # grown trials share their maps, so that this one may have been made before
            visitor.get("map, made", f"/pictures/{stimulus.picture}/")
            visitor.get("map, remembered", f"/pictures/{stimulus.picture}/")
        visitor.put("draft", reverse("api-draft", args=[page.uuid]), {"payload": {"a": 1}})
        visitor.put("draft, again", reverse("api-draft", args=[page.uuid]), {"payload": {"a": 2}})
        visitor.get(f"trial of {kind} with a draft", f"/trials/{page.uuid}/")
        answer(visitor, kind, page, name=f"answer to {kind}")
        visitor.get(f"answered trial of {kind}", f"/trials/{page.uuid}/")
        visitor.get("trial before", f"/trials/{page.uuid}/back/", 302)
    visitor.get("review", f"{here}answers/")
    visitor.get("stop", f"{here}stop/")
    for _ in range(made.trials_per_person - 2):
        answer(visitor, kind, Assignment.objects.get(participant__user=user, state="open"))
    visitor.get("questions", f"{here}questions/")
    visitor.post("questions, incomplete", f"{here}questions/", {"easy": "3"})
    visitor.post("questions, answered", f"{here}questions/", {"age": "34", "easy": "3", "device": "a screen"}, 302)
    visitor.get("end", f"{here}end/")
    assert Participant.objects.get(user=user).outcome == "completed"
    visitor.get("home, when all is done", "/")
    return visitor


def answer(visitor: Visitor, kind: str, page: Assignment, *, wrong: bool = False, name: str = "") -> None:
    payload: dict[str, Any] = KINDS[kind]
    if page.trial.phase == Phase.QUALIFICATION:
        payload = {"choice": "ab"[(page.order[0] == 0) == wrong]}
    said = {"submission": str(uuid.uuid4()), "payload": json.dumps(payload)}
    path = reverse("api-answer", args=[page.uuid])
    if name:
        visitor.post(name, path, said)
    else:
        assert visitor.client.post(path, said).status_code == 200


def world(kind: str) -> Study:
    """A study with all phases; of a preference study also a qualification."""
    return study(
        kind, images=6, answers_per_trial=2, trials_per_person=3, people={"accounts": True},
        qualification=1 if kind == "preference" else 0,
    )  # fmt: skip


@pytest.fixture
def baseline() -> Iterator[dict[str, Any]]:
    kept = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    yield kept
    if REWRITE:
        BASELINE.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_costs_what_the_baseline_says(kind, baseline):
    visitor = pages_of(kind, world(kind))
    counts = {f"{name} ({kind})" if kind not in name else name: number for name, number in visitor.counts.items()}
    engine = baseline.setdefault(connection.vendor, {})
    if REWRITE:
        engine |= counts
    known = {name: number for name, number in engine.items() if name in counts or name.endswith(f"({kind})")}
    assert counts == known
    assert not {name: number for name, number in visitor.counts.items() if number > visitor.most[name]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["preference", "map_drawing"])
def test_a_hundred_thousand_trials_cost_no_query_more_than_a_hundred(kind):
    counts = []
    for trials in (100, 100_000):
        made = world(kind)
        # A handful of images serves all trials here: that nobody meets one twice would end the study after three.
        Study.objects.filter(pk=made.pk).update(image_once=False)
        grow(made, trials)
        counts.append(pages_of(kind, made).counts)
    assert counts[0] == counts[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("map_drawing", {}),
        ("preference", {"conditions": 3, "image_once": False}),
        ("preference", {"conditions": 3, "image_once": True}),
        ("team", {"conditions": 3, "answers_per_trial": 2}),
    ],
)
def test_a_claim_reads_a_few_rows_of_one_index_at_any_size(kind, values):
    """What PostgreSQL does to find the next of 100,000 trials: ranges of `trial_free_by_level`, nothing sorted."""
    if connection.vendor != "postgresql":
        pytest.skip("The planner of PostgreSQL is asked; set DATABASE_URL.")
    made = study(kind, images=3, people={"accounts": True}, **{"answers_per_trial": 2} | values)
    grow(made, 100_000, whole=False)
    person = make.participant(made, order_offset=2**RANDOM_KEY_BITS // 3, phase="main")
    with CaptureQueriesContext(connection) as captured:
        assert next_trial(Participant.objects.select_related("study").get(pk=person.pk), Phase.MAIN) is not None
    statements = [query["sql"] for query in captured.captured_queries if 'FROM "annotation_trial"' in query["sql"]]
    assert statements
    for statement in statements:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
            plan = cursor.fetchone()[0]
        nodes = list(_nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))
        assert not [node for node in nodes if "Sort" in node["Node Type"]]
        on_trials = [node for node in nodes if node.get("Relation Name") == "annotation_trial"]
        read = [(one["Actual Rows"] + one.get("Rows Removed by Filter", 0)) * one["Actual Loops"] for one in on_trials]
        assert read
        assert max(read) <= 10, statement
        names = {node.get("Index Name") for node in on_trials}
        assert "trial_free_by_level" in names, names


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)
