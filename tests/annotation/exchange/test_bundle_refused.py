"""What is not taken in, and that a failure leaves nothing behind."""

import io
import zipfile
from typing import Any

import pytest
from django.core.files.storage import default_storage

from annotation.errors import StudyRefused
from annotation.exchange import bundle_import
from annotation.exchange.bundle import FIXTURE, MODELS
from annotation.exchange.bundle_import import BundleRefused, import_bundle
from annotation.models import Study
from mlcore.models import Explanation
from tests.annotation import factories as make
from tests.annotation.exchange.bundles import changed, files_in, first, of, packed

pytestmark = pytest.mark.django_db


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
    assert not files_in(folder)


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
        {"rows": lambda rows: of(rows, "annotation.studyversion").update(plan={"exit": 3})}, "cannot be kept",
    ),
    "a setting that is none": (
        {"rows": lambda rows: of(rows, "annotation.studyversion")["settings"].update(opacity="much")}, "cannot be kept",
    ),
    "settings that are missing": (
        {"rows": lambda rows: of(rows, "annotation.studyversion")["settings"].pop("colormap")}, "lacks settings",
    ),
    "groups that are none": (
        {"rows": lambda rows: of(rows, "annotation.studyversion")["settings"].update(groups=3)}, "which maps",
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
    assert not folder.exists() or not files_in(folder)


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
