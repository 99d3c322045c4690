"""The study builder: whole studies from one form, refusals beside their fields, drafts and live texts changed."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from annotation import publishing
from annotation.models import ListEntry, Study, Trial
from annotation.studies.trials import Group
from mlcore.models import AuditEntry, Classifier
from tests.annotation.admin.forms import form_of
from tests.annotation.factories import compare, drawings, explain, images, preferences, ratings, researcher, team

pytestmark = pytest.mark.django_db


def address(name: str, *args) -> str:
    return reverse(f"admin:annotation_study_{name}", args=args)


@pytest.fixture
def rita():
    return researcher()


@pytest.fixture
def sets(rita):
    shown = images(6)
    shown[0].image_set.owner = rita
    shown[0].image_set.save()
    made = [explain(shown, owner=rita) for _ in range(2)]
    Classifier.objects.update(owner=rita)
    return made


@pytest.fixture
def rita_client(rita, client):
    client.force_login(rita)
    return client


def begin(client, sets, **changes) -> dict:
    """The form as it opens for these sets, with these changes."""
    page = client.get(address("create"), {"explanations": [row.pk for row in sets]})
    return form_of(page) | changes


WHOLE = {
    "name": "for us", "title": "For you", "task": "Look.", "k": "2", "trials_per_person": "4", "seed": "7",
    "reasonability-question_quality": "How good?", "live": "no",
    "consent": "I take part **freely**.",
    "introduction.0.title": "Welcome", "introduction.0.text": "Maps show where.",
    "introduction.1.title": "", "introduction.1.text": "Then begin.",
    "practice.feedback": "no", "qualification.pass_mark": "75", "qualification.tries": "1",
    "checks.allowed_misses": "0", "checks.on_fail": "end",
    "exit.0.name": "age", "exit.0.kind": "number", "exit.0.question": "How old are you?", "exit.0.required": "no",
    "exit.1.name": "", "exit.1.kind": "choice", "exit.1.question": "Which hand?", "exit.1.choices": "left\r\nright\r\n",
    "completion.text": "Thanks.", "completion.codes.completed": "DONE1", "completion.codes.screened_out": "OUT1",
    "completion.return_url": "https://example.org/back", "completion.personal_code": "yes",
    "people.accounts": "no", "people.open_link": "yes", "people.prolific": "yes", "people.time_limit_minutes": "45",
    "replace.returned": "no",
    "de.title": "Für Sie", "de.consent": "Ich nehme freiwillig teil.", "introduction.1.de.text": "Dann los.",
    "exit.1.de.question": "Welche Hand?", "exit.1.de.choices": "links\nrechts",
    "de.reasonability-question_quality": "Wie gut?",
}  # fmt: skip


def test_a_whole_study_from_one_form(rita_client, sets, rita):
    answer = rita_client.post(address("create"), begin(rita_client, sets, **WHOLE))
    assert answer.status_code == 302, answer.context["form"].errors
    study = Study.objects.get()
    assert (study.name, study.owner, study.state, study.seed) == ("for us", rita, "draft", 7)
    assert (study.mode, study.answers_per_trial, study.trials_per_person) == ("k", 2, 4)
    assert study.trials.count() == 6
    assert study.trials.first().stimuli.count() == 2
    version = study.version
    assert (version.title, version.task, version.consent) == ("For you", "Look.", "I take part **freely**.")
    assert version.settings["question_quality"] == "How good?"
    plan = version.plan
    assert plan["introduction"] == [
        {"title": "Welcome", "text": "Maps show where."}, {"title": "", "text": "Then begin."}
    ]  # fmt: skip
    assert plan["practice"] == {"feedback": False}
    assert plan["qualification"] == {"pass_mark": 0.75, "tries": 1}
    assert plan["checks"] == {"allowed_misses": 0, "on_fail": "end"}
    assert plan["exit"][0] == {
        "name": "age", "kind": "number", "question": "How old are you?", "choices": [], "required": False
    }  # fmt: skip
    assert (plan["exit"][1]["name"], plan["exit"][1]["choices"]) == ("question_2", ["left", "right"])
    assert plan["completion"] == {
        "text": "Thanks.", "return_url": "https://example.org/back", "personal_code": True,
        "codes": {"completed": "DONE1", "failed_checks": "", "screened_out": "OUT1"},
    }  # fmt: skip
    assert plan["people"] == {
        "accounts": False, "open_link": True, "nickname": True, "prolific": True, "time_limit_minutes": 45
    }  # fmt: skip
    assert plan["replace"] == ["failed_checks", "timed_out"]
    assert version.translations == {
        "de": {
            "title": "Für Sie",
            "consent": "Ich nehme freiwillig teil.",
            "introduction": [{"title": "", "text": ""}, {"title": "", "text": "Dann los."}],
            "exit": [{"question": "", "choices": []}, {"question": "Welche Hand?", "choices": ["links", "rechts"]}],
            "settings": {"question_quality": "Wie gut?"},
        }
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k", "none"), ("k", "0"), ("trials_per_person", "-1"), ("most", "many"), ("seed", "x"),
        ("name", "x" * 161), ("title", "x" * 161), ("task", "x" * 301), ("reasonability-opacity", "7"),
        ("consent", "x" * 20_001), ("introduction.0.text", ""), ("qualification.pass_mark", "101"),
        ("qualification.tries", "9"), ("checks.allowed_misses", "-1"), ("exit.0.question", ""),
        ("exit.0.name", "Not plain"), ("exit.1.choices", "left\nleft"), ("completion.return_url", "ftp://x"),
        ("completion.codes.screened_out", "a b"), ("people.time_limit_minutes", "soon"), ("de.title", "x" * 161),
        ("exit.1.de.choices", "eins"),
    ],
)  # fmt: skip
def test_a_refusal_stands_beside_its_field_and_nothing_typed_is_lost(rita_client, sets, name, value):
    answer = rita_client.post(address("create"), begin(rita_client, sets, **WHOLE | {name: value}))
    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {name}
    assert not Study.objects.exists()
    sent_again = form_of(answer)
    lost = {
        key: (sent_again.get(key), wanted)
        for key, wanted in (WHOLE | {name: value}).items()
        if key != "live" and sent_again.get(key, [""])[-1].split() != wanted.split()
    }
    assert not lost
    page = answer.content.decode()
    assert page.count(answer.context["form"].errors[name].replace("'", "&#x27;")) >= 1
    assert "data-error" in page


def test_the_domains_refusal_stands_on_top(rita_client, sets):
    sent = begin(rita_client, sets, conditions="between", live="yes")
    sent |= {"groups.0.sets.0": str(sets[0].pk), "groups.1.sets.0": ""}
    answer = rita_client.post(address("create"), sent)
    assert list(answer.context["form"].errors) == ["groups"]
    assert "at least two conditions" in answer.context["form"].errors["groups"]
    sent |= {"groups.1.sets.0": str(sets[1].pk), "trials_per_person": "100"}
    answer = rita_client.post(address("create"), sent)
    assert "100 trials per person are wanted" in answer.context["form"].refused
    assert answer.context["form"].refused in answer.content.decode()
    assert not Study.objects.exists()


def test_conditions_between_people(rita_client, sets):
    sent = begin(rita_client, sets, conditions="between", live="no")
    sent |= {"groups.0.name": "before", "groups.0.sets.0": str(sets[0].pk)}
    sent |= {"groups.1.name": "after", "groups.1.sets.0": str(sets[1].pk)}
    rita_client.post(address("create"), sent)
    study = Study.objects.get()
    assert list(study.arms.values_list("name", "main_trials")) == [("before", 6), ("after", 6)]
    assert study.trials.count() == 12


def test_one_pair_of_maps_is_a_preference_study(rita_client, sets):
    page = rita_client.get(address("create"), {"explanations": [row.pk for row in sets], "kind": "preference"})
    sent = form_of(page) | {"live": "yes"}
    answer = rita_client.post(address("create"), sent)
    assert answer.status_code == 302, (answer.context["form"].errors, answer.context["form"].refused)
    study = Study.objects.get()
    assert (study.kind, study.state, study.trials.count()) == ("preference", "live", 6)
    assert {trial.stimuli.count() for trial in study.trials.all()} == {2}
    empty = sent | {"groups.0.sets.0": "", "groups.0.sets.1": ""}
    assert "groups" in rita_client.post(address("create"), empty).context["form"].errors


def test_a_team_offers_no_explanation_as_a_condition(rita_client, rita):
    shown = images(4)
    neighbours = compare(shown)
    neighbours.owner = rita
    neighbours.save()
    page = rita_client.get(address("create"), {"explanations": neighbours.pk, "kind": "team"})
    sent = form_of(page) | {"live": "no"}
    assert (sent["groups.0.sets.0"], sent["groups.1.sets.0"]) == (["none"], [str(neighbours.pk)])
    answer = rita_client.post(address("create"), sent)
    assert answer.status_code == 302, answer.context["form"].refused
    study = Study.objects.get()
    assert study.arms.first().name == "no explanation"
    assert [trial.stimuli.count() for trial in study.arms.first().trials.all()] == [0] * 4


def test_a_study_without_maps_begins_with_an_image_set(rita_client, rita):
    shown = images(3)
    shown[0].image_set.owner = rita
    shown[0].image_set.save()
    chosen = rita_client.get(address("create")).content.decode()
    assert f"?image_set={shown[0].image_set_id}" in chosen
    sent = form_of(rita_client.get(address("create"), {"image_set": shown[0].image_set_id}))
    assert sent["kind"] == ["map_drawing"]
    answer = rita_client.post(address("create"), sent | {"live": "yes"})
    assert answer.status_code == 302, answer.context["form"].refused
    assert Study.objects.get().state == "live"
    theirs = images(2)[0].image_set
    assert "id_which" not in rita_client.get(address("create"), {"image_set": theirs.pk}).content.decode()


def test_lists_are_made_or_come_from_a_table(rita_client, sets):
    sent = begin(rita_client, sets[:1], mode="lists", lists_size="3", lists_times="2", live="no")
    assert rita_client.post(address("create"), sent).status_code == 302
    study = Study.objects.get()
    assert study.lists.count() == 4
    assert ListEntry.objects.filter(trial_list__study=study).count() == 12
    names = [row.image.name for row in sets[0].explanations.select_related("image")]
    table = "list,image,position\n" + f"a,{names[0]},2\na,{names[1]},1\nb,{names[2]},1\n"
    sent |= {"lists_file": SimpleUploadedFile("lists.csv", table.encode())}
    assert rita_client.post(address("create"), sent).status_code == 302
    study = Study.objects.latest("pk")
    entries = ListEntry.objects.filter(trial_list__study=study).order_by("trial_list__number", "position")
    assert [entry.trial.image.name for entry in entries] == [names[1], names[0], names[2]]


def test_a_wrong_table_of_lists_is_named_line_by_line_and_kept(rita_client, sets):
    table = "list,image\na,nowhere.png\n,x\n"
    sent = begin(rita_client, sets[:1], mode="lists", live="no")
    answer = rita_client.post(address("create"), sent | {"lists_file": SimpleUploadedFile("lists.csv", table.encode())})
    said = answer.context["form"].errors["lists_table"]
    assert "Line 2: “nowhere.png” is not among the images" in said
    assert "Line 3: It names no list." in said
    assert form_of(answer)["lists_table"][0].split() == table.split()
    assert not Study.objects.exists()


def test_rows_are_added_moved_and_taken_out_with_their_german(rita_client, sets):
    sent = begin(rita_client, sets, **WHOLE)
    for action, titles in (
        ("introduction.add", ["Welcome", "", ""]),
        ("introduction.0.down", ["", "Welcome", ""]),
        ("introduction.0.up", ["", "Welcome", ""]),
        ("introduction.2.remove", ["", "Welcome"]),
        ("introduction.9.remove", ["", "Welcome"]),
    ):
        answer = rita_client.post(address("create"), sent | {"do": action})
        assert answer.status_code == 200
        sent = form_of(answer)
        assert [sent[f"introduction.{n}.title"][0] for n in range(len(titles))] == titles, action
        assert f"introduction.{len(titles)}.title" not in sent
    assert sent["introduction.0.de.text"] == ["Dann los."]
    assert sent["introduction.1.text"] == ["Maps show where."]
    assert sent["consent"] == ["I take part **freely**."]
    assert not Study.objects.exists()


def test_another_kind_keeps_sets_and_words(rita_client, sets):
    sent = begin(rita_client, sets, **WHOLE | {"kind": "preference", "do": "regroup"})
    sent = form_of(rita_client.post(address("create"), sent))
    assert sent["kind"] == ["preference"]
    chosen = sent.get("explanations") or [sent["groups.0.sets.0"][0], sent["groups.0.sets.1"][0]]
    assert [pk for pk in chosen if pk] == [str(row.pk) for row in sets]
    assert sent["title"] == ["For you"]
    assert "preference-question" in sent


def test_the_sample_size_follows_the_form(rita_client, sets):
    sent = begin(rita_client, sets, k="4", trials_per_person="3", do="refresh")
    need = rita_client.post(address("create"), sent).context["form"].sample.need
    assert (need.people, need.answers) == (8, 24)  # 6 images × 4 answers ÷ 3 a person


def drafts() -> list[Study]:
    rita = researcher()
    shown = images(4)
    one = explain(shown, owner=rita)
    other = explain(shown, owner=rita)
    Classifier.objects.update(owner=rita)
    neighbours = compare(shown)
    neighbours.owner = rita
    neighbours.save()
    pairs = [Group("cell", (one, other)), Group("turned", (other, one))]
    values = {"live": False, "owner": rita, "images": shown}
    return [
        ratings(explanation_sets=[one, other], k=2, trials_per_person=3, **values),
        ratings(explanation_sets=[one, other], conditions="between", k=None, seed=5, **values),
        drawings(block_by="class", rotate_blocks=True, explanation_sets=[one], **values),
        preferences(explanation_sets=[one, other], **values),
        preferences(groups=pairs, block_by="condition", **values),
        team(groups=[Group("none"), Group("near", (neighbours,))], **values),
        ratings(explanation_sets=[one], mode="lists", k=None, lists=publishing_lists(2), **values),
    ]


def publishing_lists(length: int):
    from annotation.lists import ListPlan

    return ListPlan(length=length, repeats=1)


def test_keeping_a_draft_as_it_is_changes_nothing(client):
    for study in drafts():
        client.force_login(study.owner)
        before = list(study.trials.values_list("pk", flat=True))
        answer = client.post(address("edit", study.pk), form_of(client.get(address("edit", study.pk)), "name"))
        assert answer.status_code == 302, (answer.context["form"].errors, answer.context["form"].refused)
        assert answer["Location"] == address("change", study.pk), study.name
        assert list(study.trials.values_list("pk", flat=True)) == before
        assert study.versions.count() == 1
    assert not AuditEntry.objects.filter(action__in=["study.revise", "study.redesign", "study.rename"]).exists()


def test_a_drafts_texts_become_its_next_version(rita_client, sets):
    rita_client.post(address("create"), begin(rita_client, sets, **WHOLE))
    study = Study.objects.get()
    sent = form_of(rita_client.get(address("edit", study.pk)))
    rita_client.post(address("edit", study.pk), sent | {"introduction.0.text": "Other words.", "name": "renamed"})
    study = Study.objects.get(pk=study.pk)
    assert (study.name, study.version.number) == ("renamed", 2)
    assert study.version.plan["introduction"][0]["text"] == "Other words."
    assert study.version.settings["explanation_sets"]
    assert set(AuditEntry.objects.values_list("action", flat=True)) >= {"study.rename", "study.revise"}


def test_a_drafts_design_is_made_anew_and_everything_else_stays(rita_client, rita, sets):
    rita_client.post(address("create"), begin(rita_client, sets, **WHOLE))
    study = Study.objects.get()
    image = study.trials.first().image
    gold = {"necessary": "yes"}
    publishing.add_trials(study, rita, "check", [publishing.TrialItem(image, gold=gold, instruction="Say yes")])
    publishing_gold = study.trials.get(phase="check").gold
    sent = form_of(rita_client.get(address("edit", study.pk)))
    sent |= {"which": "all", "most": "3", "k": "5", "trials_per_person": "2"}
    answer = rita_client.post(address("edit", study.pk), sent)
    assert answer.status_code == 302, (answer.context["form"].errors, answer.context["form"].refused)
    new = Study.objects.get()
    assert (new.uuid, new.join_key, new.name) == (study.uuid, study.join_key, "for us")
    assert new.trials.filter(phase="main").count() == 3
    assert (new.answers_per_trial, new.trials_per_person, new.main_trials) == (5, 2, 3)
    check = new.trials.get(phase="check")
    assert (check.image, check.context["instruction"], check.gold) == (image, "Say yes", publishing_gold)
    assert new.version.consent == "I take part **freely**."
    assert Trial.objects.count() == 4
    assert AuditEntry.objects.filter(action="study.redesign", object_id=str(study.uuid)).exists()


def test_a_live_study_gets_new_texts_and_keeps_its_rules(rita_client, sets):
    rita_client.post(address("create"), begin(rita_client, sets, **WHOLE | {"live": "yes"}))
    study = Study.objects.get()
    page = rita_client.get(address("edit", study.pk))
    assert "becomes version 2" in page.content.decode()
    sent = form_of(page, "name")
    assert "kind" not in sent
    assert "qualification.pass_mark" not in sent
    answer = rita_client.post(address("edit", study.pk), sent | {"consent": "A new text."})
    assert answer.status_code == 302, answer.context["form"].errors
    version = Study.objects.get().version
    assert (version.number, version.consent) == (2, "A new text.")
    assert version.plan["qualification"] == {"pass_mark": 0.75, "tries": 1}
    assert version.plan["replace"] == ["failed_checks", "timed_out"]
    refused = rita_client.post(address("edit", study.pk), sent | {"reasonability-shown_class": "true"})
    assert refused.status_code == 422
    assert "Copy the study to change it" in refused.content.decode()
    publishing.close(Study.objects.get(), study.owner)
    assert rita_client.get(address("edit", study.pk)).status_code == 302


def test_a_copy_is_a_draft_under_another_name(rita_client, sets):
    rita_client.post(address("create"), begin(rita_client, sets, **WHOLE | {"live": "yes"}))
    study = Study.objects.get()
    assert rita_client.get(address("copy", study.pk)).status_code == 200
    assert rita_client.post(address("copy", study.pk), {"name": " "}).status_code == 422
    rita_client.post(address("copy", study.pk), {"name": "again"})
    copied = Study.objects.get(name="again")
    assert (copied.state, copied.trials.count(), copied.version.consent) == ("draft", 6, "I take part **freely**.")


def test_the_sample_size_of_a_draft_is_a_part_of_its_page(rita_client, sets):
    rita_client.post(address("create"), begin(rita_client, sets, **WHOLE))
    study = Study.objects.get()
    part = rita_client.get(address("sample", study.pk), {"sample.seconds": "60"}, headers={"HX-Request": "true"})
    assert part.context["sample"].need.people == 3  # 6 × 2 ÷ 4
    assert part.context["sample"].need.hours == pytest.approx(0.2)
    assert "<html" not in part.content.decode()
    assert "<html" in rita_client.get(address("sample", study.pk)).content.decode()


def test_enter_in_a_line_keeps_nothing(rita_client, sets):
    page = rita_client.get(address("create"), {"explanations": sets[0].pk}).content.decode()
    form = page[page.index('id="builder"') :]
    first = form[form.index('type="submit"') :]
    assert first[: first.index(">")].count('value="refresh"') == 1
