"""A study travels: the same rows, maps and pictures in a second installation; and what is not taken in."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core import serializers
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotation.answers import submit
from annotation.api.pictures import map_bytes, picture_bytes
from annotation.errors import StudyRefused
from annotation.exchange import bundle_import
from annotation.exchange.bundle import FIXTURE, MANIFEST, MODELS, write_bundle
from annotation.exchange.bundle_import import BundleRefused, import_bundle
from annotation.flow import next_step
from annotation.models import Stimulus, Study, StudyVersion, Trial
from annotation.pair_studies import create_pair_study, pair_sets_of
from annotation.publishing import TrialItem, add_trials, close, publish
from annotation.redesign import redesign
from annotation.study_pictures import add_picture
from mlcore.exchange.shards import load_map
from mlcore.models import AttributionPair, AuditEntry, Classifier, Explanation, Image, PairSet
from tests.annotation import factories as make
from tests.annotation.pairs import Cells, make_cells

pytestmark = pytest.mark.django_db

# What stays where the study was made; and where maps lie, which is compared by the maps themselves.
STAYS = {"owner", "weights", "run", "join_key", "shard", "index"}


@pytest.fixture
def cells() -> Cells:
    return make_cells()


@pytest.fixture
def study(cells) -> Study:
    made = create_pair_study(cells.pair_sets, name="Two cells", owner=cells.owner, answers_per_trial=2)
    add_trials(made, cells.owner, "practice", [TrialItem(cells.images[-1], gold={"choice": "second"}, feedback="So.")])
    add_picture(made, cells.owner, io.BytesIO(make.drawing()), "a-map")
    return publish(made, cells.owner)


def packed(*studies: Study) -> io.BytesIO:
    stream = io.BytesIO()
    write_bundle(studies, stream)
    return stream


def rows() -> dict[str, list[dict[str, Any]]]:
    """Every row that a bundle may hold, by model, as fields without what stays."""
    found: dict[str, list[dict[str, Any]]] = {}
    for model in MODELS:
        plain = serializers.serialize(
            "python", model._base_manager.all(), use_natural_foreign_keys=True, use_natural_primary_keys=True
        )
        kept = [{name: value for name, value in row["fields"].items() if name not in STAYS} for row in plain]
        found[model._meta.label_lower] = sorted(kept, key=str)
    return found


def seen() -> tuple[dict[str, bytes], dict[str, Any], dict[str, Any]]:
    """Maps as people see them, maps as arrays, and pictures, by UUID."""
    stimuli = Stimulus.objects.select_related("trial__image", "explanation")
    return (
        {str(one.uuid): map_bytes(one) for one in stimuli},
        {str(row.uuid): load_map(row).tobytes() for row in Explanation.objects.all()},
        {str(row.uuid): (row.file.read(), picture_bytes(row)) for row in Image.objects.all()},
    )


@pytest.fixture
def elsewhere(settings, tmp_path) -> Callable[[], Path]:
    """Makes the test's installation an empty one with a media folder of its own."""

    def empty() -> Path:
        for label in ("annotation", "mlcore"):
            for model in apps.get_app_config(label).get_models(include_auto_created=True):
                model._base_manager.all()._raw_delete("default")
        folder = tmp_path / f"media-{len(list(tmp_path.glob('media-*')))}"
        storages = {name: dict(value) for name, value in settings.STORAGES.items()}
        storages["default"]["OPTIONS"] = {"location": str(folder), "base_url": None}
        settings.STORAGES, settings.MEDIA_ROOT = storages, str(folder)
        return folder

    return empty


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
    assert (done.rows, done.files) == (sum(map(len, after.values())), len(list(_files(folder))))
    assert AuditEntry.objects.get(action="study.import_bundle").actor == owner


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


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


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["files", "rows"])
def test_a_half_failed_import_leaves_nothing(study, elsewhere, monkeypatch, where):
    data = packed(study)
    folder = elsewhere()
    owner = make.researcher()
    if where == "files":
        put, left = bundle_import.storage.put, iter(range(3))

        def full(name: str, content: bytes) -> str:
            if next(left, None) is None:
                raise OSError(28, "No space left on device")
            return put(name, content)

        monkeypatch.setattr(bundle_import.storage, "put", full)
        expected: type[BaseException] = OSError
    else:
        # The last row of the fixture breaks a rule of the database, after all others have been written.
        def twice(rows: list[dict]) -> None:
            stimuli = [row for row in rows if row["model"] == "annotation.stimulus"]
            stimuli[-1]["fields"]["picture"] = stimuli[0]["fields"]["picture"]

        data, expected = changed(data, twice), BundleRefused
    with pytest.raises(expected):
        import_bundle(data, owner=owner)
    assert not any(model._base_manager.exists() for model in MODELS)
    assert not _files(folder)


def changed(
    data: io.BytesIO,
    rows: Callable[[list[dict]], Any] = lambda rows: None,
    files: Callable[[dict[str, bytes]], Any] = lambda files: None,
    manifest: Callable[[dict], Any] = lambda manifest: None,
    sums: bool = True,
) -> io.BytesIO:
    """The bundle with other rows or files; with a manifest that fits again unless `sums` is off."""
    with zipfile.ZipFile(data) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    told = json.loads(held.pop(MANIFEST))
    fixture = json.loads(held[FIXTURE])
    rows(fixture)
    held[FIXTURE] = json.dumps(fixture).encode()
    files(held)
    if sums:
        told["files"] = {
            name: {"sha256": hashlib.sha256(one).hexdigest(), "size": len(one)} for name, one in held.items()
        }
    manifest(told)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, one in {**held, MANIFEST: json.dumps(told).encode()}.items():
            archive.writestr(name, one)
    return stream


def of(rows: list[dict], model: str) -> dict[str, Any]:
    return next(row["fields"] for row in rows if row["model"] == model)


def first(files: dict[str, bytes], suffix: str) -> str:
    return next(name for name in files if name.endswith(suffix))


EVIL: dict[str, tuple[dict[str, Any], str]] = {
    "another format": ({"manifest": lambda told: told.update(format="harmony.bundle/9")}, "format is"),
    "a path out of the media": ({"files": lambda held: held.update({"media/../../evil.png": b"x"})}, "must not be in"),
    "an absolute path": ({"files": lambda held: held.update({"/etc/cron": b"x"})}, "must not be in a bundle"),
    "weights": ({"files": lambda held: held.update({"media/classifiers/w.safetensors": b"x"})}, "must not be in"),
    "a file that nobody names": ({"files": lambda held: held.update({"media/images/a/b.png": b"x"})}, "No row names"),
    "a file that is missing": ({"files": lambda held: held.pop(first(held, ".npz"))}, "that is not in the bundle"),
    "a changed file": (
        {"files": lambda held: held.update({first(held, ".png"): b"other"}), "sums": False}, "has another size",
    ),
    "another file than the manifest's": (
        {"files": lambda held: held.update({"media/images/a/b.png": b"x"}), "sums": False}, "not those that",
    ),
    "no picture": ({"files": lambda held: held.update({first(held, ".png"): b"<svg>"})}, "is not taken"),
    "another picture": (
        {"files": lambda held: held.update({first(held, ".png"): make.drawing()})}, "another picture than its row says",
    ),
    "maps that are none": ({"files": lambda held: held.update({first(held, ".npz"): b"no zip"})}, "holds no maps"),
    "an index outside": (
        {"rows": lambda rows: of(rows, "mlcore.explanation").update(index=99)}, "does not hold the maps",
    ),
    "a user": (
        {"rows": lambda rows: rows.append({"model": "auth.user", "fields": {"username": "root"}})}, "no bundle holds",
    ),
    "a number of its own": ({"rows": lambda rows: rows[0].update(pk=1)}, "rows have no numbers"),
    "an owner": ({"rows": lambda rows: of(rows, "annotation.study").update(owner=["root"])}, "names a owner"),
    "somebody else's study": (
        {"rows": lambda rows: of(rows, "annotation.trial").update(study=["00000000-0000-4000-8000-000000000000"])},
        "names a study that is not in the bundle",
    ),
    "weights in a row": (
        {"rows": lambda rows: of(rows, "mlcore.classifier").update(weights="classifiers/x")}, "brings weights",
    ),
    "a file elsewhere": (
        {"rows": lambda rows: of(rows, "mlcore.image").update(file="../secret")}, "not in the bundle",
    ),
    "an unknown kind": ({"rows": lambda rows: of(rows, "annotation.study").update(kind="poll")}, "kind “poll”"),
    "a plan that is none": (
        {"rows": lambda rows: of(rows, "annotation.studyversion").update(plan={"exit": 3})}, "plan that cannot be kept",
    ),
    "a row twice": ({"rows": lambda rows: rows.append(rows[0])}, "is there twice"),
    "no uuid": ({"rows": lambda rows: of(rows, "annotation.study").update(uuid="x")}, "says no uuid"),
    "a column that is not known": ({"rows": lambda rows: of(rows, "mlcore.image").update(colour="red")}, "do not fit"),
}  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
def test_a_bundle_is_believed_in_nothing(study, elsewhere, name):
    change, sentence = EVIL[name]
    data = changed(packed(study), **change)
    folder = elsewhere()
    with pytest.raises(BundleRefused, match=sentence):
        import_bundle(data, owner=make.researcher())
    assert not any(model._base_manager.exists() for model in MODELS)
    assert not folder.exists() or not _files(folder)


def test_what_is_no_zip_and_what_is_no_bundle(tmp_path):
    with pytest.raises(BundleRefused, match="cannot be read as a zip"):
        import_bundle(io.BytesIO(b"text"), owner=None)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(FIXTURE, "[]")
    with pytest.raises(BundleRefused, match="no bundle of a study"):
        import_bundle(stream, owner=None)


def test_an_image_set_of_the_same_name_is_named(study, elsewhere):
    name, data = study.image_set.name, packed(study)
    elsewhere()
    make.ImageSetFactory(name=name)
    with pytest.raises(BundleRefused, match="another image set"):
        import_bundle(data, owner=None)
    assert not Study.objects.exists()


def test_maps_that_are_gone_are_named(study):
    default_storage.delete(Explanation.objects.order_by("pk")[0].shard)
    with pytest.raises(StudyRefused, match="cannot be packed"):
        packed(study)


def test_only_maps_are_packed():
    with pytest.raises(StudyRefused, match="a bundle holds maps only"):
        packed(make.team())
