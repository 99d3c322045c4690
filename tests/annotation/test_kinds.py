"""A fifth kind of study, a module and a template below tests/, is made, answered over HTTP, counted and exported.

Nothing of the application is replaced: the kind is registered, and its folder of templates is named.
"""

import csv
import io
import json
import uuid
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from annotation.errors import StudyRefused
from annotation.exchange.export import columns, csv_lines, export_statistics_csv, json_pieces
from annotation.models import Answer, Assignment, Study
from annotation.publishing import TrialItem, add_trials, close, create_study, problems, publish
from annotation.studies import KINDS, kind_named, register
from annotation.studies.trials import Group
from tests.annotation import factories as make
from tests.annotation.fifth_kind import Caption
from tests.annotation.fifth_kind.fixture import caption  # noqa: F401

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("caption")]


class Form(HTMLParser):
    """The answer's controls as a page writes them: name → (data-type, values that can be chosen)."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fields: dict[str, tuple[str, list[str]]] = {}
        self.inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        if tag == "form":
            self.inside = given.get("id") == "answer-form"
        if self.inside and tag == "input":
            assert "checked" not in given, "nothing is preselected"
            _, values = self.fields.setdefault(given["name"], (given.get("data-type", "text"), []))
            values.append(given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False

    def answer(self, chosen: dict[str, str]) -> dict[str, Any]:
        assert chosen.keys() == self.fields.keys()
        typed = {"text": str, "int": int, "bool": lambda text: text == "yes"}
        for name, text in chosen.items():
            kind, values = self.fields[name]
            assert kind == "text" or text in values
        return {name: typed[self.fields[name][0]](text) for name, text in chosen.items()}


def a_study(owner: Any = None) -> Study:
    images = make.images(4)
    before, after = make.explain(images), make.explain(images)
    study = create_study(
        kind="caption", name="Captions", owner=owner, images=images[:3], answers_per_trial=1,
        groups=[Group("plain", (before,)), Group("tuned", (after,))], conditions="within",
    )  # fmt: skip
    add_trials(study, owner, "practice", [TrialItem(images[3], gold={"word": "wing"}, feedback="Look at the left.")])
    assert problems(study) == []
    return publish(study, owner)


def send(client: Client, address: str, chosen: dict[str, str], **extra: Any) -> Any:
    payload = Form(client.get(address).content.decode()).answer(chosen)
    assignment = address.strip("/").split("/")[-1]
    data = {"submission": str(uuid.uuid4()), "payload": json.dumps(payload), "duration_ms": 1500, "events": "[]"}
    return client.post(reverse("api-answer", args=[assignment]), data | extra)


def test_a_fifth_kind_plays_through_the_pages_is_counted_and_exported():
    owner = make.researcher()
    study = a_study(owner)
    client = Client()
    client.force_login(make.annotator())
    address = client.get(reverse("study", args=[study.uuid])).url
    practice = send(client, address, {"caption": "a leaf", "sure": "2", "helped": "no"}).json()
    assert practice["feedback"] == {"right": False, "sentence": "One sees: wing. Look at the left."}
    address = practice["next"]
    said = [("a wing", "5", "yes"), ("two wings", "4", "no"), ("a moth", "3", "yes")]
    for text, sure, helped in said:
        page = client.get(address).content.decode()
        assert "What do you see?" in page
        for condition in ("plain", "tuned", "grad_cam"):
            assert f">{condition}" not in page
            assert f'"{condition}"' not in page
        sent = send(client, address, {"caption": text, "sure": sure, "helped": helped})
        assert sent.status_code == 200
        assert sent.json()["feedback"] is None
        address = sent.json()["next"]
    last = client.get(address, follow=True)
    assert last.redirect_chain[-1][0] == reverse("study-end", args=[study.uuid])

    assert "two wings" in client.get(reverse("study-review", args=[study.uuid])).content.decode()

    kind = kind_named("caption")
    found = kind.statistics(study)
    assert (found["answers"], found["mean_sure"], found["people"]) == (3, 4.0, {"human": 1})
    by_arm = {}
    for answer in Answer.objects.filter(assignment__trial__phase="main"):
        stimulus = answer.judgements.get(question="helped")
        by_arm.setdefault(stimulus.stimulus.condition, []).append(stimulus.truth)
    assert found["helped"] == {name: sum(values) / len(values) for name, values in by_arm.items()}

    rows = list(csv.DictReader(io.StringIO("".join(csv_lines(study)))))
    assert list(rows[0]) == [column.name for column in columns(study)]
    assert [(row["phase"], row["caption"], row["sure"], row["helped"]) for row in rows] == [
        ("practice", "a leaf", "2.0", "false"),
        *(("main", text, f"{sure}.0", "true" if helped == "yes" else "false") for text, sure, helped in said),
    ]
    whole = json.loads("".join(json_pieces(study)))
    assert len(whole["answers"]) == 4
    assert whole["statistics"]["mean_sure"] == 4.0
    figures = io.StringIO()
    export_statistics_csv(study, figures)
    assert "Share of maps that helped" in figures.getvalue()

    close(study, owner)
    researcher = Client()
    researcher.force_login(owner)
    page = researcher.get(reverse("admin:annotation_study_change", args=[study.pk]))
    assert page.status_code == 200
    assert "Share of maps that helped" in page.content.decode()


def test_what_the_kind_refuses_is_said_field_by_field():
    study = a_study()
    client = Client()
    client.force_login(make.annotator())
    assignment = client.get(reverse("study", args=[study.uuid])).url.strip("/").split("/")[-1]
    data = {"submission": str(uuid.uuid4()), "payload": json.dumps({"caption": " ", "sure": "5", "helped": None})}
    refused = client.post(reverse("api-answer", args=[assignment]), data)
    assert refused.status_code == 400
    assert refused.json()["errors"].keys() == {"caption", "sure", "helped"}
    assert Assignment.objects.get(uuid=assignment).state == Assignment.State.OPEN


def test_an_answer_of_the_kind_is_changed_like_any_other():
    study = a_study()
    client = Client()
    client.force_login(make.annotator())
    address = client.get(reverse("study", args=[study.uuid])).url
    address = send(client, address, {"caption": "wing", "sure": "1", "helped": "no"}).json()["next"]
    send(client, address, {"caption": "first", "sure": "1", "helped": "no"})
    changed = send(client, address, {"caption": "second", "sure": "5", "helped": "yes"}, base_revision=1)
    assert changed.json()["revision"] == 2
    answer = Answer.objects.get(assignment__trial__phase="main")
    assert sorted(str(row.value) for row in answer.judgements.all()) == ["5.0", "True", "second"]


def test_the_kinds_own_rules_hold_for_making_studies():
    images = make.images(1)
    with pytest.raises(StudyRefused, match="within"):
        create_study(
            kind="caption", name="Together", owner=None, images=images,
            explanation_sets=[make.explain(images)], conditions="together",
        )  # fmt: skip
    with pytest.raises(StudyRefused, match="At most 1"):
        create_study(
            kind="caption", name="Two", owner=None, images=images, conditions="within",
            groups=[Group("a", (make.explain(images), make.explain(images)))],
        )  # fmt: skip


def test_two_kinds_cannot_share_a_name_and_none_is_left_behind():
    with pytest.raises(RuntimeError, match="already"):
        register(Caption())
    assert set(KINDS) == {"caption", "map_drawing", "preference", "reasonability", "team"}


def test_every_kind_says_what_its_exports_hold():
    for kind in KINDS.values():
        assert kind.title and kind.summary and kind.task and kind.columns  # noqa: PT018
        assert kind.default_settings() == kind.clean_settings({})
