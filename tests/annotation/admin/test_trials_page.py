"""Practice, qualification and check trials of a draft, one by one and from tables."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from annotation import extra_trials, publishing
from annotation.admin.trials_page import gold_words
from annotation.entry import start_preview
from annotation.errors import StudyRefused
from annotation.models import Participant, Study
from annotation.studies import KINDS
from annotation.trial_tables import TableInvalid, decoded, lists_of, read
from mlcore.models import AuditEntry
from tests.annotation.admin.forms import form_of
from tests.annotation.factories import images, preferences, ratings, team

pytestmark = pytest.mark.django_db


def address(name: str, *args) -> str:
    return reverse(f"admin:annotation_study_{name}", args=args)


@pytest.fixture
def draft(client) -> Study:
    study = preferences(4, live=False)
    client.force_login(study.owner)
    return study


def names(study: Study) -> list[str]:
    return list(study.trials.filter(phase="main").order_by("pk").values_list("image__name", flat=True))


def order(study: Study, phase: str) -> list[str]:
    return list(study.trials.filter(phase=phase).order_by("random_key", "pk").values_list("image__name", flat=True))


def test_a_trial_is_added_with_its_right_answer(draft, client):
    sent = form_of(client.get(address("trials", draft.pk)), "phase")
    image = draft.trials.first().image
    chosen = draft and KINDS["preference"].gold_fields[0]
    right = chosen.choices[1][0]
    sent |= {
        "phase": "check", "image": str(image.pk), f"gold-{chosen.name}": right, "instruction": "Choose it",
        "feedback": "So it is.", "known": "no",
    }  # fmt: skip
    sent.pop("do", None)
    answer = client.post(address("trials", draft.pk), sent)
    assert answer.status_code == 302, answer.context["form"].errors
    made = draft.trials.get(phase="check")
    assert made.image == image
    assert made.gold["answer"][chosen.name] == right
    assert (made.gold["feedback"], made.context["instruction"]) == ("So it is.", "Choose it")
    assert made.claims_left is None
    assert made.stimuli.count() == 2
    page = client.get(address("trials", draft.pk)).content.decode()
    assert "Choose it" in page
    assert gold_words(KINDS["preference"], made.gold)[0] in page.replace("&#x27;", "'")


def test_what_is_wrong_stands_beside_its_field(draft, client):
    chosen = KINDS["preference"].gold_fields[0].name
    sent = {"phase": "lunch", "image": "", f"gold-{chosen}": "sideways", "instruction": "x" * 501, "known": "no"}
    answer = client.post(address("trials", draft.pk), sent)
    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {"phase", "image", f"gold-{chosen}", "instruction"}
    assert "x" * 501 in answer.content.decode()
    assert not draft.trials.exclude(phase="main").exists()


def test_images_are_found_by_name_in_the_studys_own_set(draft, client):
    other = images(1)[0]
    name = names(draft)[2]
    page = client.get(address("trial_images", draft.pk), {"q": name[-9:]}).content.decode()
    assert page.count('type="radio"') == 1
    assert name in page
    assert "No image" in client.get(address("trial_images", draft.pk), {"q": other.name}).content.decode()
    refused = client.post(address("trials", draft.pk), {"phase": "practice", "image": str(other.pk)})
    assert refused.context["form"].errors == {"image": "Choose an image."}


def test_a_searching_enter_adds_nothing(draft, client):
    sent = {"do": "search", "phase": "practice", "image": str(draft.trials.first().image_id), "q": "0"}
    assert client.post(address("trials", draft.pk), sent).status_code == 200
    assert not draft.trials.exclude(phase="main").exists()


def table_of(draft: Study, *lines: str) -> str:
    return "phase,image,group,choice,instruction,feedback\n" + "\n".join(lines)


def test_a_table_is_taken_whole(draft, client):
    one, two, three, _ = names(draft)
    column = KINDS["preference"].gold_fields[0].name
    table = table_of(
        draft, f"practice,{two},,first,,Well seen", f"practice,{one},,second,,", f"check,{three},,neither,Say so,",
    ).replace("choice", column)  # fmt: skip
    answer = client.post(address("trial_table", draft.pk), {"file": SimpleUploadedFile("t.csv", table.encode())})
    assert answer.status_code == 302, answer.context["wrong"]
    assert order(draft, "practice") == [two, one]
    assert draft.trials.get(phase="check").context["instruction"] == "Say so"
    assert draft.trials.filter(phase="practice").order_by("random_key")[0].gold["feedback"] == "Well seen"


def test_a_table_with_a_wrong_line_adds_nothing_and_says_each(draft, client):
    one = names(draft)[0]
    column = KINDS["preference"].gold_fields[0].name
    table = table_of(
        draft, f"practice,{one},,first,,", f"main,{one},,first,,", "practice,none.png,,first,,",
        f"practice,{one},left,first,,", f"practice,{one},,sideways,,", f"practice,{one}",
    ).replace("choice", column)  # fmt: skip
    answer = client.post(address("trial_table", draft.pk), {"table": table})
    assert answer.status_code == 422
    said = answer.context["wrong"]
    assert said == ["Line 7: It has 2 cells, the first line 6."]
    said = client.post(address("trial_table", draft.pk), {"table": table.rsplit("\n", 1)[0]}).context["wrong"]
    assert [line.split(":")[0] for line in said] == ["Line 3", "Line 4", "Line 5", "Line 6"]
    assert "not one of practice, qualification, check" in said[0]
    assert "There is no image “none.png”" in said[1]
    assert "The group “left” is not one of" in said[2]
    assert "sideways" in said[3]
    assert not draft.trials.exclude(phase="main").exists()


def test_labels_tell_the_right_answer_where_they_can(client):
    study = team(3, live=False)
    client.force_login(study.owner)
    image = study.trials.first().image
    sent = {"phase": "qualification", "image": str(image.pk), "group": "neighbours", "known": "yes"}
    assert client.post(address("trials", study.pk), sent).status_code == 302
    assert study.trials.get(phase="qualification").gold["answer"] == {"accept": True}
    unknown = ratings(2, live=False, owner=study.owner)
    sent |= {"image": str(unknown.trials.first().image_id), "group": ""}
    answer = client.post(address("trials", unknown.pk), sent)
    assert "labels and masks do not tell" in answer.context["form"].errors["image"]
    assert not unknown.trials.exclude(phase="main").exists()


def test_trials_move_and_go(draft, client):
    for name in names(draft)[:3]:
        image = draft.trials.get(image__name=name).image
        publishing.add_trials(draft, draft.owner, "practice", [publishing.TrialItem(image, gold=None)])
    one, two, three = order(draft, "practice")
    trial = draft.trials.get(phase="practice", image__name=three)
    client.post(address("trial_move", draft.pk, trial.pk, "up"))
    assert order(draft, "practice") == [one, three, two]
    client.post(address("trial_move", draft.pk, trial.pk, "up"))
    client.post(address("trial_move", draft.pk, trial.pk, "up"))  # at the top already
    assert order(draft, "practice") == [three, one, two]
    client.post(address("trial_move", draft.pk, trial.pk, "down"))
    assert order(draft, "practice") == [one, three, two]
    client.post(address("trial_delete", draft.pk, trial.pk))
    assert order(draft, "practice") == [one, two]
    assert set(AuditEntry.objects.values_list("action", flat=True)) >= {"study.move_trial", "study.remove_trial"}


def test_trials_of_all_conditions_move_together(client):
    study = team(3, live=False)
    for trial in list(study.trials.filter(arm__name="none"))[:2]:
        publishing.add_trials(study, study.owner, "practice", [publishing.TrialItem(trial.image)])
    first = order(study, "practice")
    assert first[0] == first[1] != first[2] == first[3]
    trial = study.trials.filter(phase="practice").order_by("random_key").last()
    extra_trials.move_trial(trial, study.owner, -1)
    assert order(study, "practice") == first[2:] + first[:2]


def test_main_trials_and_live_studies_stay_as_they_are(draft, client):
    trial = draft.trials.first()
    assert client.post(address("trial_delete", draft.pk, trial.pk)).status_code == 404
    with pytest.raises(StudyRefused, match="Main trials"):
        extra_trials.remove_trial(trial, draft.owner)
    publishing.add_trials(draft, draft.owner, "practice", [publishing.TrialItem(trial.image)])
    publishing.publish(draft, draft.owner)
    extra = draft.trials.get(phase="practice")
    client.post(address("trial_delete", draft.pk, extra.pk))
    client.post(address("trial_move", draft.pk, extra.pk, "up"))
    assert draft.trials.filter(pk=extra.pk).exists()
    assert "Add a trial" not in client.get(address("trials", draft.pk)).content.decode()
    with pytest.raises(StudyRefused, match="stay as they are"):
        extra_trials.move_trial(extra, draft.owner, 1)


def test_taking_a_trial_out_forgets_the_looks_at_it(draft):
    publishing.add_trials(draft, draft.owner, "practice", [publishing.TrialItem(draft.trials.first().image)])
    start_preview(draft.owner, draft)
    extra_trials.remove_trial(draft.trials.get(phase="practice"), draft.owner)
    assert not Participant.objects.filter(study=draft).exists()


def test_the_page_costs_the_same_for_few_and_many(draft, client, django_assert_max_num_queries):
    image = draft.trials.first().image
    for number in (1, 12):
        publishing.add_trials(draft, draft.owner, "practice", [publishing.TrialItem(image)] * number)
        with django_assert_max_num_queries(14):
            client.get(address("trials", draft.pk))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The table is empty"),
        ("list\na", "There is no column “image”"),
        ("list,image,colour\na,b,c", "The column “colour” means nothing here"),
        ("list,list,image\na,b,c", "stands twice in the first line"),
        ("list,image\n", "names its columns and holds nothing else"),
        ("list,image\na\0,b", "zero bytes"),
        ('list,image\n"a,b', "cannot be read"),
    ],
)
def test_tables_that_cannot_be_read(text, sentence):
    with pytest.raises(TableInvalid, match=sentence):
        read(text, ("list", "image"), ("position",))


def test_tables_as_spreadsheets_write_them():
    lines = read("\ufeffImage ; List\n b.png ;x\n\n c.png;x\n", ("list", "image"))
    assert [(line.number, line.cells["image"], line.cells["list"]) for line in lines] == [
        (2, "b.png", "x"), (4, "c.png", "x")
    ]  # fmt: skip
    with pytest.raises(TableInvalid, match="not UTF-8"):
        decoded("é".encode("latin-1"))


def test_lists_refuse_what_stands_twice():
    shown = images(3)
    one, two, three = (image.name for image in shown)
    assert lists_of(f"list\timage\nb\t{one}\na\t{two}\nb\t{three}", shown) == [[shown[0], shown[2]], [shown[1]]]
    both = lists_of(f"list,image,condition\na,{one},x\na,{one},y", shown)
    assert both == [[(shown[0], "x"), (shown[0], "y")]]
    with pytest.raises(TableInvalid, match=f"Line 3: “{one}” stands twice"):
        lists_of(f"list,image\na,{one}\na,{one}", shown)
    with pytest.raises(TableInvalid, match="Position 1 stands twice"):
        lists_of(f"list,image,position\na,{one},1\na,{two},1", shown)
