"""A study travels: the same rows, maps and pictures in a second installation, and a second time nothing more."""

import hashlib
import io
import json
import zipfile

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotation.answers import submit
from annotation.exchange.bundle import FIXTURE, MANIFEST, MODELS, write_bundle
from annotation.exchange.bundle_import import BundleRefused, import_bundle
from annotation.flow import next_step
from annotation.models import Stimulus, Study, StudyVersion, Trial
from annotation.pair_studies import create_pair_study, pair_sets_of
from annotation.publishing import close
from annotation.redesign import redesign
from mlcore.models import AttributionPair, AuditEntry, Classifier, Image, PairSet
from tests.annotation import factories as make
from tests.annotation.exchange.bundles import files_in, packed, rows, seen
from tests.annotation.pairs import make_cells

pytestmark = pytest.mark.django_db


def test_a_second_installation_has_the_same_study(study, elsewhere):
    # An image, a map and a classifier that the study does not need stay behind.
    spare = make.ImageFactory(image_set=study.image_set, label=1)
    make.explain([spare])
    data = packed(study)
    uuids = {str(row) for row in Trial.objects.values_list("image__uuid", flat=True)}
    before, (maps, arrays, pictures) = rows(), seen()
    folder = elsewhere()
    assert not Study.objects.exists()
    owner = make.researcher()
    done = import_bundle(data, owner=owner)
    after = rows()
    shown = {str(row) for row in Stimulus.objects.values_list("explanation__uuid", flat=True)}
    for model in (Study, StudyVersion, Trial, Stimulus, PairSet, AttributionPair):
        label = model._meta.label_lower
        assert after[label] == before[label], label
        assert after[label]
    for label in ("annotation.arm", "annotation.studypicture", "mlcore.imageset"):
        assert after[label] == before[label] != []
    needed = {
        "mlcore.image": lambda row: str(row["uuid"]) in uuids,
        "mlcore.imagelabel": lambda row: row["image"][0] in uuids,
        "mlcore.explanation": lambda row: row["uuid"] in shown,
    }
    for label, wanted in needed.items():
        assert after[label] == [row for row in before[label] if wanted(row)]
    assert len(after["mlcore.image"]) == len(before["mlcore.image"]) - 1
    names = {row["name"] for row in after["mlcore.classifier"]}
    assert names == {"Clandestine-Alpha", "Clandestine-Beta focus", "Clandestine-Beta rma"}
    assert [row for row in before["mlcore.classifier"] if row["name"] in names] == after["mlcore.classifier"]
    again, arrays_again, pictures_again = seen()
    assert again == maps
    assert arrays_again == {key: arrays[key] for key in shown}
    assert pictures_again == {key: pictures[key] for key in uuids}
    assert {study.owner for study in done.studies} == {owner}
    assert set(Classifier.objects.values_list("owner", "weights", "run")) == {(owner.pk, "", None)}
    assert (done.rows, done.files) == (sum(map(len, after.values())), len(list(files_in(folder))))
    assert AuditEntry.objects.get(action="study.import_bundle").actor == owner


def test_the_study_works_there_and_people_are_let_in_by_another_link(study, elsewhere):
    link = study.join_key
    data = packed(study)
    elsewhere()
    owner = make.researcher()
    (there,) = import_bundle(data, owner=owner).studies
    assert there.join_key != link
    assert there.current == there.versions.get()
    assert [one.metric for one in pair_sets_of(there)] == ["focus", "rma"]
    person = make.participant(there, phase="main")
    seen_conditions = set()
    for _ in range(4):
        assignment = next_step(person).assignment
        seen_conditions |= set(assignment.trial.stimuli.values_list("condition", flat=True))
        submit(assignment=assignment, submission=assignment.uuid, payload={"choice": "a"}, duration_ms=900)
    assert seen_conditions == {"original", "tuned"}


def test_a_bundle_starts_with_every_place_free_and_without_people(study):
    person = make.participant(study, phase="main")
    while (step := next_step(person)).kind == "trial":
        submit(assignment=step.assignment, submission=step.assignment.uuid, payload={"choice": "a"}, duration_ms=900)
    assert set(study.trials.filter(phase="main").values_list("claims_left", flat=True)) == {1}
    fixture = json.loads(zipfile.ZipFile(packed(study)).read(FIXTURE))
    trials = [row["fields"] for row in fixture if row["model"] == "annotation.trial"]
    assert {row["claims_left"] for row in trials if row["phase"] == "main"} == {2}
    models = {row["model"] for row in fixture}
    assert models <= {model._meta.label_lower for model in MODELS}
    assert all(set(row) == {"model", "fields"} for row in fixture)


def test_a_closed_study_travels_as_a_draft(study, cells):
    close(study, cells.owner)
    fixture = json.loads(zipfile.ZipFile(packed(study)).read(FIXTURE))
    (row,) = [row["fields"] for row in fixture if row["model"] == "annotation.study"]
    assert (row["state"], row["published"], row["closed"]) == ("draft", None, None)


def test_the_manifest_names_size_and_sum_of_every_file(study):
    with zipfile.ZipFile(packed(study)) as archive:
        manifest = json.loads(archive.read(MANIFEST))
        for name, told in manifest["files"].items():
            data = archive.read(name)
            assert told == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        assert set(archive.namelist()) == {MANIFEST, *manifest["files"]}
        stored = {image.sha256 for image in Image.objects.filter(trials__study=study)}
        assert stored <= {told["sha256"] for told in manifest["files"].values()}
    assert manifest["studies"] == [{"uuid": str(study.uuid), "name": "Two cells"}]
    assert manifest["counts"]["mlcore.attributionpair"] == 4
    assert sum(1 for name in manifest["files"] if name.endswith(".npz")) == 3  # one a set of maps


def test_queries_do_not_grow_with_the_study(cells):
    counted = []
    for each in (1, 4):
        more = make_cells(each=each)
        made = create_pair_study(more.pair_sets, name=f"{each} pairs", owner=more.owner)
        with CaptureQueriesContext(
            connection,
        ) as caught:
            write_bundle([made], io.BytesIO())
        counted.append(len(caught))
    assert counted[0] == counted[1]


# --- a second time ----------------------------------------------------------------------------------------------------


def test_a_second_import_changes_nothing_and_says_so(study, elsewhere):
    data = packed(study)
    elsewhere()
    owner = make.researcher()
    import_bundle(data, owner=owner)
    before = rows()
    other = make.researcher()
    again = import_bundle(data, owner=other)
    assert again.already
    assert "nothing was changed" in again.sentence()
    assert rows() == before
    assert Study.objects.get().owner == owner


def test_where_it_was_made_nothing_is_overwritten(study, cells):
    data = packed(study)
    before = rows()
    assert import_bundle(data, owner=cells.owner).already
    assert rows() == before
    assert all(row.weights for row in Classifier.objects.all())


def test_a_study_with_answers_is_refused(study, cells):
    data = packed(study)
    person = make.participant(study, phase="main")
    step = next_step(person)
    submit(assignment=step.assignment, submission=step.assignment.uuid, payload={"choice": "a"}, duration_ms=900)
    with pytest.raises(BundleRefused, match="has answers; it stays as it is"):
        import_bundle(data, owner=cells.owner)


def test_a_draft_that_was_made_anew_since_is_refused(cells):
    study = create_pair_study(cells.pair_sets[:1], name="One", owner=cells.owner)
    data = packed(study)
    redesign(
        study, cells.owner, kind="preference", name="One", explanation_sets=[cells.original, cells.tuned[0]],
        conditions="together", answers_per_trial=2, settings={"shown_class": "true"},
    )  # fmt: skip
    with pytest.raises(BundleRefused, match="changed since"):
        import_bundle(data, owner=cells.owner)


def test_plain_loaddata_works_and_a_second_time_does_no_harm(study, elsewhere, tmp_path):
    before, (maps, _, _) = rows(), seen()
    zipfile.ZipFile(packed(study)).extractall(tmp_path / "unpacked")
    folder = elsewhere()
    (tmp_path / "unpacked" / "media").rename(folder)
    load = ["loaddata", str(tmp_path / "unpacked" / FIXTURE)]
    call_command(*load, verbosity=0)
    assert rows()["annotation.trial"] == before["annotation.trial"]
    assert rows()["annotation.study"] == before["annotation.study"]
    assert seen()[0] == maps
    # Life goes on: owned, answered, classifiers that have their weights after all.
    owner = make.researcher()
    Study.objects.update(owner=owner)
    Classifier.objects.update(weights="classifiers/w.safetensors")
    here = Study.objects.get()
    step = next_step(make.participant(here, phase="main"))
    submit(assignment=step.assignment, submission=step.assignment.uuid, payload={"choice": "a"}, duration_ms=900)
    lived = rows(), set(Classifier.objects.values_list("weights")), here.join_key
    call_command(*load, verbosity=0)
    there = Study.objects.get()
    assert (rows(), set(Classifier.objects.values_list("weights")), there.join_key) == lived
    assert there.owner == owner
