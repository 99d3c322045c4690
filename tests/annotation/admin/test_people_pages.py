"""Invitations, links, deletion of a person and places given back, from the page of a study."""

import csv
import io

import pytest
from django.urls import reverse

from annotation import invitations, publishing
from annotation.entry import enter_guest, start_preview
from annotation.exchange.export import export_people
from annotation.models import Answer, Assignment, ExitAnswers, Participant, Study
from annotation.plan import default_plan
from mlcore.models import AuditEntry
from tests.annotation.factories import participant, ratings

pytestmark = pytest.mark.django_db


def address(name: str, *args) -> str:
    return reverse(f"admin:annotation_study_{name}", args=args)


def live(client, **people) -> Study:
    plan = default_plan()
    plan["people"] |= people
    plan["completion"]["codes"]["completed"] = "DONE"
    study = ratings(3, k=2, plan=plan)
    client.force_login(study.owner)
    return study


def test_links_are_made_listed_and_taken_back(client):
    study = live(client)
    client.post(address("invitations", study.pk), {"number": "2", "labels": "", "days": "30"})
    client.post(address("invitations", study.pk), {"number": "", "labels": "Anna\n\n=Bert\n", "days": ""})
    made = list(study.invitations.order_by("pk"))
    assert [row.label for row in made] == ["", "", "Anna", "=Bert"]
    assert [row.expires is not None for row in made] == [True, True, False, False]
    page = client.get(address("invitations", study.pk)).content.decode()
    assert invitations.token(made[2]) in page
    client.post(address("revoke", study.pk, made[2].pk))
    used = invitations.accept(invitations.token(made[3]))
    page = client.get(address("invitations", study.pk)).content.decode()
    assert invitations.token(made[2]) not in page
    assert used.pseudonym in page
    rows = list(csv.DictReader(io.StringIO(client.get(address("invitations_csv", study.pk)).content.decode())))
    assert [row["label"] for row in rows] == ["", "", "Anna", "'=Bert"]
    assert [row["state"] for row in rows] == ["free", "free", "revoked", "used"]
    assert rows[0]["link"].startswith("http://testserver/join/")


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        ({"number": "none"}, "number"), ({"number": "0"}, "number"), ({"number": "5001"}, "number"),
        ({"labels": "x" * 121}, "labels"), ({"number": "1", "days": "0"}, "days"),
    ],
)  # fmt: skip
def test_links_that_cannot_be_made(client, sent, where):
    study = live(client)
    answer = client.post(address("invitations", study.pk), sent)
    assert answer.status_code == 422
    assert set(answer.context["errors"]) == {where}
    assert not study.invitations.exists()


def test_links_to_hand_out_stand_on_the_page(client):
    closed = live(client)
    page = client.get(address("change", closed.pk)).content.decode()
    assert "/open/" not in page
    assert "/prolific/" not in page
    study = live(client, open_link=True, prolific=True)
    page = client.get(address("change", study.pk)).content.decode()
    assert f"http://testserver/open/{study.join_key}/" in page
    assert f"/prolific/{study.join_key}/?PROLIFIC_PID={{{{%PROLIFIC_PID%}}}}&amp;STUDY_ID={{{{%STUDY_ID%}}}}" in page
    assert '<b class="h-mono">DONE</b>' in page


def test_a_person_is_deleted_after_one_more_question(client, answer_all):
    study = live(client)
    person = participant(study)
    answer_all(person)
    page = client.get(address("forget", study.pk, person.pk)).content.decode()
    assert "3 answers" in page
    assert Answer.objects.count() == 3
    answer = client.post(address("forget", study.pk, person.pk))
    assert answer["Location"] == address("change", study.pk)
    assert not Participant.objects.exists()
    assert not Answer.objects.exists()
    assert set(study.trials.values_list("claims_left", flat=True)) == {2}
    entry = AuditEntry.objects.get(action="participant.forget")
    assert (entry.actor, entry.after) == (study.owner, {"answers": 3})


def test_a_place_is_given_back_once(client, answer_all):
    study = live(client)
    person = participant(study)
    answer_all(person, 2)
    client.post(address("give_back", study.pk, person.pk))
    person.refresh_from_db()
    assert (person.outcome, person.phase) == ("returned", "done")
    assert set(study.trials.values_list("claims_left", flat=True)) == {2}
    assert set(person.assignments.values_list("state", flat=True)) <= {Assignment.State.SET_ASIDE, "returned"}
    client.post(address("give_back", study.pk, person.pk))
    assert AuditEntry.objects.filter(action="participant.take_back").count() == 1


def test_people_of_another_study_and_previews_are_not_there(client):
    study, other = live(client), live(client)
    person = participant(other)
    look = start_preview(study.owner, study)
    client.force_login(study.owner)
    for row in (person, look):
        assert client.get(address("forget", study.pk, row.pk)).status_code == 404
        assert client.post(address("give_back", study.pk, row.pk)).status_code == 404
    assert look.pseudonym not in client.get(address("change", study.pk)).content.decode()


def test_people_leave_as_pseudonyms_with_their_exit_answers(client):
    study = live(client, open_link=True)
    plan = study.version.plan | {
        "exit": [{"name": "age", "kind": "number", "question": "Age?", "choices": [], "required": False}]
    }
    publishing.revise(study, study.owner, plan=plan)
    one = enter_guest(study, nickname="Annie", external_id="abc123")
    two = participant(study)
    ExitAnswers.objects.create(participant=one, version=study.version, values={"age": 31})
    start_preview(study.owner, study)
    stream = io.StringIO()
    assert export_people(study, stream) == 2
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert [row["participant"] for row in rows] == [one.pseudonym, two.pseudonym]
    assert [row["exit_age"] for row in rows] == ["31", ""]
    assert rows[0]["started"].startswith("20")
    for secret in ("Annie", "abc123", one.user.username, two.user.username):
        assert secret not in stream.getvalue()
    sent = client.get(address("export", study.pk, "people"))
    assert b"".join(sent.streaming_content).decode() == stream.getvalue()
    assert 'filename="people-' in sent["Content-Disposition"]
    assert AuditEntry.objects.filter(action="study.look").count() == 1
