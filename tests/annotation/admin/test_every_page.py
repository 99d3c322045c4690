"""Every address of the admin: it renders for an administrator, and gives nothing of one researcher to another."""

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.urls import reverse

from annotation.people import add_annotator
from mlcore.models import AuditEntry, Explanation
from tests.annotation.admin.world import Loop, administrator
from tests.annotation.factories import participant, researcher

pytestmark = pytest.mark.django_db

LISTS = (
    "mlcore_imageset", "mlcore_run", "mlcore_classifier", "mlcore_explanationset", "mlcore_partition",
    "mlcore_supervisionset", "mlcore_auditentry", "mlcore_worker", "annotation_study",
)  # fmt: skip
FORMS = (
    "mlcore_imageset_import", "mlcore_run_start", "mlcore_run_form", "mlcore_run_compare",
    "mlcore_classifier_import", "annotation_study_create", "annotation_study_decisions",
)  # fmt: skip


def own_pages(loop: Loop) -> dict[str, str]:
    """Every page, part and picture about something that the loop's researcher owns."""
    image = loop.world.part("annotation_pool")[0]
    before = Explanation.objects.filter(set=loop.maps).first()
    rows = {
        "mlcore_imageset_change": [loop.image_set.pk],
        "mlcore_imageset_partition": [loop.image_set.pk],
        "mlcore_imageset_thumbnail": [image.pk, 96],
        "mlcore_partition_change": [loop.partition.pk],
        "mlcore_run_change": [loop.phase2.pk],
        "mlcore_run_repeat": [loop.phase2.pk],
        "mlcore_run_status": [loop.phase2.pk],
        "mlcore_run_curves": [loop.phase2.pk],
        "mlcore_classifier_change": [loop.classifier.pk],
        "mlcore_classifier_layers": [loop.classifier.pk],
        "mlcore_classifier_look": [loop.classifier.pk],
        "mlcore_explanationset_change": [loop.maps.pk],
        "mlcore_explanationset_overlay": [before.pk, "overlay", 96],
        "mlcore_supervisionset_change": [loop.phase2.supervision_id],
        "mlcore_auditentry_change": [AuditEntry.objects.filter(actor=loop.owner).first().pk],
        "annotation_study_change": [loop.ratings.pk],
        "annotation_study_phase2": [loop.drawings.pk],
        "annotation_study_before_after": [loop.phase2.pk],
        "annotation_study_outlined": [loop.phase2.pk, before.pk, "contour", 96],
        "annotation_study_export-csv": [loop.ratings.pk, "csv"],
        "annotation_study_export-json": [loop.ratings.pk, "json"],
        "annotation_study_export-people": [loop.ratings.pk, "people"],
        "annotation_study_edit": [loop.ratings.pk],
        "annotation_study_copy": [loop.ratings.pk],
        "annotation_study_sample": [loop.ratings.pk],
        "annotation_study_pictures": [loop.ratings.pk],
        "annotation_study_picture": [loop.ratings.pk, loop.picture.pk],
        "annotation_study_trials": [loop.ratings.pk],
        "annotation_study_trial_images": [loop.ratings.pk],
        "annotation_study_trial_thumbnail": [loop.ratings.pk, image.pk],
        "annotation_study_invitations": [loop.ratings.pk],
        "annotation_study_invitations_csv": [loop.ratings.pk],
        "annotation_study_forget": [loop.ratings.pk, loop.ratings.participants.first().pk],
    }
    return {name: reverse(f"admin:{name.split('-')[0]}", args=args) for name, args in rows.items()}


def test_every_page_renders_for_an_administrator(loop, client):
    client.force_login(administrator())
    addresses = {name: reverse(f"admin:{name}_changelist") for name in LISTS}
    addresses |= {name: reverse(f"admin:{name}") for name in FORMS}
    addresses |= own_pages(loop)
    addresses["index"] = reverse("admin:index")
    addresses["folder"] = reverse("admin:mlcore_imageset_folder")
    addresses["users"] = reverse("admin:auth_user_changelist")
    addresses["a user"] = reverse("admin:auth_user_change", args=[loop.owner.pk])
    addresses["groups"] = reverse("admin:auth_group_changelist")
    found = {name: client.get(address).status_code for name, address in addresses.items()}
    assert found == dict.fromkeys(addresses, 200)


def test_every_page_of_ones_own_opens_for_the_researcher(loop, client):
    client.force_login(loop.owner)
    found = {name: client.get(address).status_code for name, address in own_pages(loop).items()}
    assert found == dict.fromkeys(found, 200)


def test_another_researcher_sees_nothing_of_it(loop, client):
    client.force_login(researcher())
    found = {name: client.get(address).status_code for name, address in own_pages(loop).items()}
    assert set(found.values()) == {404}, found


def test_actions_on_anothers_rows_are_refused_and_change_nothing(loop, client):
    client.force_login(researcher())
    before = AuditEntry.objects.count()
    for name, row in (
        ("mlcore_run_cancel", loop.phase2), ("mlcore_run_resume", loop.phase2), ("mlcore_run_repeat", loop.phase2),
        ("annotation_study_publish", loop.ratings), ("annotation_study_close", loop.ratings),
        ("annotation_study_look", loop.ratings), ("annotation_study_phase2", loop.drawings),
        ("annotation_study_human_maps", loop.drawings),
        ("mlcore_imageset_partition", loop.image_set),
        ("annotation_study_edit", loop.ratings), ("annotation_study_copy", loop.ratings),
        ("annotation_study_pictures", loop.ratings), ("annotation_study_trials", loop.ratings),
        ("annotation_study_trial_table", loop.ratings), ("annotation_study_invitations", loop.ratings),
    ):  # fmt: skip
        assert client.post(reverse(f"admin:{name}", args=[row.pk]), {"name": "theirs"}).status_code == 404, name
    person, trial = loop.ratings.participants.first(), loop.ratings.trials.first()
    for name, args in (
        ("forget", [person.pk]), ("give_back", [person.pk]), ("picture_delete", [loop.picture.pk]),
        ("revoke", [loop.invitation.pk]), ("trial_delete", [trial.pk]), ("trial_move", [trial.pk, "up"]),
    ):  # fmt: skip
        answer = client.post(reverse(f"admin:annotation_study_{name}", args=[loop.ratings.pk, *args]))
        assert answer.status_code == 404, name
    loop.ratings.refresh_from_db()
    assert loop.ratings.state == "live"
    assert AuditEntry.objects.count() == before


def test_what_changes_something_is_never_a_plain_link(loop, client):
    client.force_login(loop.owner)
    person, trial = loop.ratings.participants.first(), loop.ratings.trials.first()
    before = AuditEntry.objects.count()
    for name, args in (
        ("publish", []), ("close", []), ("look", []), ("trial_table", []), ("give_back", [person.pk]),
        ("picture_delete", [loop.picture.pk]), ("revoke", [loop.invitation.pk]), ("trial_delete", [trial.pk]),
        ("trial_move", [trial.pk, "up"]),
    ):  # fmt: skip
        answer = client.get(reverse(f"admin:annotation_study_{name}", args=[loop.ratings.pk, *args]))
        assert answer.status_code == 405, name
    assert AuditEntry.objects.count() == before


def test_lists_name_nothing_of_another_researcher(loop, client):
    client.force_login(researcher())
    for name in (*LISTS, "index"):
        address = reverse("admin:index") if name == "index" else reverse(f"admin:{name}_changelist")
        page = client.get(address).content.decode()
        for row in (loop.image_set, loop.phase1, loop.ratings, loop.drawings, loop.partition):
            assert str(row) not in page, name


@pytest.mark.parametrize("who", ["annotator", "staff without the group"])
def test_those_who_are_no_researchers_come_nowhere(loop, client, who):
    person = add_annotator("anna")
    if who != "annotator":
        person.is_staff = True
        person.save()
    client.force_login(person)
    for address in own_pages(loop).values():
        answer = client.get(address)
        assert answer.status_code in (302, 403), address
        assert "login" in answer.get("Location", "login")
    assert client.get(reverse("admin:mlcore_run_changelist")).status_code in (302, 403)


def test_domain_rows_cannot_be_added_changed_or_deleted(loop, client, rf):
    request = rf.get("/")
    request.user = administrator()
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label in ("mlcore", "annotation"):
            assert not model_admin.has_add_permission(request), model
            assert not model_admin.has_change_permission(request), model
            assert not model_admin.has_delete_permission(request), model


def test_pictures_are_kept_by_this_browser_alone_and_asked_for_once(loop, client):
    client.force_login(loop.owner)
    address = own_pages(loop)["mlcore_explanationset_overlay"]
    first = client.get(address)
    assert first["Cache-Control"].startswith("private")
    assert first["Content-Type"] == "image/jpeg"
    assert client.get(address, headers={"If-None-Match": first["ETag"]}).status_code == 304
    assert client.get(address.replace("/96/", "/97/")).status_code == 404


def test_an_account_that_has_taken_part_is_not_deleted_with_its_answers(loop, rf):
    request = rf.get("/")
    request.user = administrator()
    people = admin.site._registry[get_user_model()]
    took_part = participant(loop.ratings).user
    assert not people.has_delete_permission(request, took_part)
    assert not people.has_delete_permission(request)
    assert people.has_delete_permission(request, researcher())
