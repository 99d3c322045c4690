"""A file of decisions in the administration: shown as it would be read, changed, and imported when that is right."""

import os
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from annotation.admin import import_decisions, import_uploads
from annotation.models import Answer, Study
from annotation.people import add_annotator
from mlcore.models import AuditEntry
from tests.annotation.admin.forms import form_of
from tests.annotation.factories import ImageFactory, ImageSetFactory, researcher

pytestmark = pytest.mark.django_db
PLAIN = """who,query,method,ai_correct,accepted,pred_one,pred_two
Ann,a.png,maps,1,1,x,y
Ann,b.png,maps,0,0,x,y
Bob,a.png,none,0,0,v,w
Bob,b.png,none,1,0,v,w
"""
FORM = "read.person"


@pytest.fixture
def owner(client):
    person = researcher()
    client.force_login(person)
    return person


def send(client, text: str = PLAIN, name: str = "our decisions.csv") -> str:
    """The address of the page that shows the file."""
    answer = client.post(
        reverse("admin:annotation_study_decisions"), {"table": SimpleUploadedFile(name, text.encode())}
    )
    assert answer.status_code == 302, answer.content.decode()
    return answer["Location"]


def press(client, page: str, button: str | None = None, **values):
    """The page's form as a browser sends it, with these changes."""
    form = form_of(client.get(page), having=FORM) | {name.replace("__", "."): value for name, value in values.items()}
    return client.post(page, form | ({button: "yes"} if button else {}))


def text_of(answer) -> str:
    return answer.content.decode()


def test_a_file_is_shown_and_nothing_is_written(client, owner):
    page = send(client)
    shown = text_of(client.get(page))
    assert "Say which column holds the person." in shown
    assert "What comes in</h2>" not in shown
    shown = text_of(press(client, page, "look", read__person="who"))
    assert 'value="who" selected' in " ".join(shown.split())
    assert "What comes in</h2>" in shown
    assert "50.00 %" in shown  # of Bob's decisions
    assert not Study.objects.exists()
    assert not AuditEntry.objects.filter(action="study.import_decisions").exists()


def test_what_the_selects_say_is_what_is_imported(client, owner):
    page = send(client)
    wish = {"read__person": "who", "read__label": "pred_two"}
    answer = press(client, page, None, name="Ours", **wish)
    study = Study.objects.get()
    assert answer["Location"] == reverse("admin:annotation_study_change", args=[study.pk])
    assert (study.name, study.owner, study.participants.count()) == ("Ours", owner, 2)
    assert set(study.trials.values_list("context__class_name", flat=True)) == {"y", "w"}
    followed = text_of(client.get(answer["Location"]))
    assert "4 answers of 2 people to 4 trials added" in followed
    assert "These figures are of imported annotators" in " ".join(followed.split())
    assert "maps: people decided correctly in 100.0%" in followed
    assert client.get(page).status_code == 404  # the file is gone
    assert not default_storage.listdir(import_uploads.FOLDER)[1]


def test_each_condition_may_have_a_label_of_its_own(client, owner):
    page = send(client)
    press(client, page, None, **{"read__person": "who", "read__label": "", "name": "Ours",
                                 "read.label:maps": "pred_one", "read.label:none": "pred_two"})  # fmt: skip
    said = Study.objects.get().trials.values_list("arm__name", "context__class_name")
    assert set(said) == {("maps", "x"), ("none", "w")}


def test_another_column_of_conditions_is_looked_at_before_anything_is_written(client, owner):
    page = send(client)
    answer = press(client, page, "look", read__person="who", read__condition="pred_one", read__label="")
    assert [cell.condition for cell in answer.context["preview"].cells] == ["x", "v"]
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"read__person": ""}, "Say which column holds the person."),
        ({"read__person": "who", "read__truth": "who"}, "“who” is read as two things"),
        ({"read__person": "who", "read__accepted": ""}, "whether the person accepted"),
        ({"read__person": "nobody"}, "there is no column “nobody”"),
        ({"read__person": "who", "name": ""}, "This field is required."),
    ],
)
def test_what_is_refused_is_a_sentence_and_nothing_is_made(client, owner, values, sentence):
    answer = press(client, send(client), None, **values)
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert not Study.objects.exists()


def test_rows_with_problems_are_named_and_may_be_left_out(client, owner):
    more = "".join(f"Cat,{i}.png,none,1,1,x,y\n" for i in range(10))
    page = send(client, PLAIN + more + "Dan,a.png,none,maybe,1,v,w\n")
    shown = text_of(press(client, page, "look", read__person="who"))
    assert "“maybe” is neither true nor false." in shown
    assert "Leave out the rows with problems (1)" in " ".join(shown.split())
    refused = press(client, page, None, read__person="who", name="Ours")
    assert refused.status_code == 422
    assert "1 row has a problem, so nothing was imported" in text_of(refused)
    assert not Study.objects.exists()
    press(client, page, None, read__person="who", name="Ours", leave_out="on")
    assert Answer.objects.count() == 14


def test_text_of_a_file_stays_text(client, owner):
    name = '<img src=x onerror="alert(1)">'
    page = send(client, PLAIN.replace("maps", "'=cmd|<b>").replace("who", '"who ""<i>"""'), f"{name}.csv")
    shown = text_of(press(client, page, "look", read__person='who "<i>"'))
    for bad in ("<img src=x", "<b>", "<i>"):
        assert bad not in shown, bad
    assert "=cmd|&lt;b&gt;" in shown


def test_pictures_come_from_a_set_of_ones_own(client, owner):
    own, other = ImageSetFactory(name="mine", owner=owner), ImageSetFactory(name="theirs", owner=researcher())
    ImageFactory(image_set=own, name="a.png")
    ImageFactory(image_set=other, name="a.png")
    page = send(client)
    shown = text_of(client.get(page))
    assert "mine" in shown
    assert "theirs" not in shown
    refused = press(client, page, None, read__person="who", name="Ours", pictures=str(other.pk))
    assert refused.status_code == 422
    press(client, page, None, read__person="who", name="Ours", pictures=str(own.pk))
    assert Study.objects.get().image_set.images.exclude(file="").count() == 1


def test_a_file_that_is_none_is_refused_where_it_was_sent(client, owner, monkeypatch):
    followed = client.get(send(client, "a\nb\n"), follow=True)
    assert "one column alone" in text_of(followed)
    monkeypatch.setattr(import_decisions, "MOST_ROWS", 3)
    assert "more than 3 rows" in text_of(client.get(send(client), follow=True))
    monkeypatch.setattr(import_uploads, "MOST_BYTES", 10)
    answer = client.post(
        reverse("admin:annotation_study_decisions"), {"table": SimpleUploadedFile("t.csv", PLAIN.encode())}
    )
    assert answer.status_code == 422
    assert "is larger than" in text_of(answer)
    assert not default_storage.listdir(import_uploads.FOLDER)[1]


def test_a_file_is_seen_by_whoever_sent_it_alone(client, owner):
    page = send(client)
    client.force_login(researcher())
    assert client.get(page).status_code == 404
    assert client.post(page, {"name": "Ours"}).status_code == 404
    client.force_login(owner)
    assert client.get(page[:-8] + "aaaaaaa/").status_code == 404
    assert client.get(page).status_code == 200
    client.force_login(add_annotator("someone"))
    assert client.get(page).status_code in (302, 403)
    assert client.get(reverse("admin:annotation_study_decisions")).status_code in (302, 403)


def test_files_that_nobody_confirmed_go_after_a_day(client, owner):
    old = default_storage.save(f"{import_uploads.FOLDER}/old.csv", ContentFile(b"a,b\n1,2\n"))
    long_ago = default_storage.get_modified_time(old) - import_uploads.KEPT - timedelta(minutes=1)
    os.utime(default_storage.path(old), (long_ago.timestamp(), long_ago.timestamp()))
    page = send(client)
    assert not default_storage.exists(old)
    assert client.get(page).status_code == 200
