"""Folders of pictures into rows: what comes in, what stays out and why, and that twice adds nothing."""

import hashlib
import os
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import get_user_model
from django.core.files.storage import default_storage
from django.db import connection

from mlcore.exchange.images import ImportRefused, import_folder
from mlcore.models import AuditEntry, Box, Image, ImageLabel, ImageSet, Mask
from tests.mlcore.exchange.pictures import save, save_mask

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(("cat/a.png", "cat/b.jpg", "dog/c.png", "dog/deep/d.png")):
        save(tmp_path / "set" / name, seed)
    return tmp_path / "set"


def sentences(problems) -> str:
    return "\n".join(map(str, problems))


def test_a_folder_a_class(folder):
    user = get_user_model().objects.create_user("ada")
    seen = []
    report = import_folder(folder, name="Pets", owner=user, progress=lambda done, total: seen.append((done, total)))
    assert (report.added, report.already, report.problems, report.notes) == (4, 0, [], [])
    assert report.image_set.classes == ["cat", "dog"]
    assert report.image_set.owner == user
    rows = ImageLabel.objects.values_list("image__name", "index", "source").order_by("image__name")
    assert list(rows) == [
        ("cat/a.png", 0, "import"),
        ("cat/b.jpg", 0, "import"),
        ("dog/c.png", 1, "import"),
        ("dog/deep/d.png", 1, "import"),
    ]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    image = Image.objects.get(name="cat/b.jpg")
    assert image.file.read() == (folder / "cat/b.jpg").read_bytes()
    assert image.file.name == f"images/{report.image_set.uuid}/{image.sha256[:2]}/{image.sha256}.jpg"
    assert (image.width, image.height) == (24, 16)
    assert set(AuditEntry.objects.values_list("action", "actor__username")) == {
        ("create_image_set", "ada"),
        ("import_images", "ada"),
    }


def test_importing_twice_adds_nothing(folder, tmp_path):
    save_mask(tmp_path / "masks" / "a.png")
    (tmp_path / "boxes.csv").write_text("file,x0,y0,x1,y1\ncat/b.jpg,1,2,3,4\n")
    options = {"name": "Pets", "masks": tmp_path / "masks", "boxes": tmp_path / "boxes.csv"}
    first = import_folder(folder, **options)
    files = sorted(str(path) for path in (tmp_path / "media").rglob("*.*"))
    second = import_folder(folder, **options)
    assert (first.added, first.masks, first.boxes) == (4, 1, 1)
    assert (second.added, second.already, second.masks, second.boxes) == (0, 4, 0, 0)
    assert second.problems == []
    assert not second.changed
    counts = [model.objects.count() for model in (ImageSet, Image, ImageLabel, Mask, Box)]
    assert counts == [1, 4, 4, 1, 1]
    assert sorted(str(path) for path in (tmp_path / "media").rglob("*.*")) == files


def test_bad_files_are_named_and_the_rest_goes_on(folder):
    (folder / "cat/broken.jpg").write_bytes((folder / "cat/b.jpg").read_bytes()[:300])
    (folder / "cat/text.png").write_text("no picture")
    (folder / "dog/drawing.svg").write_text("<svg></svg>")
    (folder / "dog/notes.txt").write_text("files like this are passed over")
    (folder / "dog/.DS_Store").write_bytes(b"\0")
    save(folder / "loose.png", 77)
    report = import_folder(folder, name="Pets")
    assert report.added == 4
    assert [problem.file for problem in report.problems] == [
        "loose.png",
        "cat/broken.jpg",
        "cat/text.png",
        "dog/drawing.svg",
    ]
    assert "no class folder" in str(report.problems[0])
    assert report.sentence() == "Pets: 4 images added, 4 problems."


def test_the_same_picture_under_two_names_is_kept_once(folder):
    (folder / "dog/again.png").write_bytes((folder / "cat/a.png").read_bytes())
    report = import_folder(folder, name="Pets")
    assert report.added == 4
    assert sentences(report.problems) == "dog/again.png: The same picture as cat/a.png; it is kept once."
    again = import_folder(folder, name="Pets")
    assert (again.added, again.already, len(again.problems)) == (0, 4, 1)


def test_another_picture_under_an_old_name_does_not_replace_it(folder):
    import_folder(folder, name="Pets")
    before = Image.objects.get(name="cat/a.png").sha256
    save(folder / "cat/a.png", 99)
    report = import_folder(folder, name="Pets")
    assert "Another picture of this name" in sentences(report.problems)
    assert Image.objects.get(name="cat/a.png").sha256 == before


def test_new_pictures_join_and_new_classes_do_not(folder):
    import_folder(folder, name="Pets")
    save(folder / "cat/new.png", 50)
    save(folder / "bird/e.png", 51)
    report = import_folder(folder, name="Pets")
    assert (report.added, report.already) == (1, 4)
    assert "“bird” is not a class of this set (cat, dog)" in sentences(report.problems)
    report.image_set.refresh_from_db()
    assert report.image_set.classes == ["cat", "dog"]


def test_a_picture_that_moved_to_another_class_keeps_its_label(folder):
    import_folder(folder, name="Pets")
    table = folder.parent / "moved.csv"
    table.write_text("file,label\ncat/a.png,dog\n")
    report = import_folder(folder, name="Pets", labels=table)
    assert "was imported as “cat” before" in sentences(report.problems)
    assert list(ImageLabel.objects.filter(image__name="cat/a.png").values_list("index", flat=True)) == [0]


def test_given_parts(tmp_path):
    for seed, name in enumerate(("train/cat/a.png", "train/dog/b.png", "Val/cat/c.png", "test/dog/d.png")):
        save(tmp_path / "set" / name, seed)
    report = import_folder(tmp_path / "set", name="Pets")
    assert report.image_set.classes == ["cat", "dog"]
    assert report.splits == {
        "train/cat/a.png": "train",
        "train/dog/b.png": "train",
        "Val/cat/c.png": "validation",
        "test/dog/d.png": "test",
    }


def test_names_in_every_alphabet(tmp_path):
    composed, decomposed = unicodedata.normalize("NFC", "Müller"), unicodedata.normalize("NFD", "Müller")
    save(tmp_path / "set" / decomposed / "日本 🦋.png", 1)
    save(tmp_path / "set/b/x.png", 2)
    report = import_folder(tmp_path / "set", name="Alphabets")
    assert report.image_set.classes == [composed, "b"] or report.image_set.classes == ["b", composed]
    assert set(Image.objects.values_list("name", flat=True)) == {f"{composed}/日本 🦋.png", "b/x.png"}


def test_a_name_that_is_no_text_is_named(folder):
    odd = os.fsencode(folder / "cat") + b"/\xff\xfe.png"
    with open(odd, "wb") as stream:
        stream.write(save(folder.parent / "x.png", 5).read_bytes())
    report = import_folder(folder, name="Pets")
    assert report.added == 4
    assert "not valid text" in sentences(report.problems)


def test_links_that_lead_out_are_not_followed(folder, tmp_path):
    outside = save(tmp_path / "secret/e.png", 60)
    (folder / "cat/link.png").symlink_to(outside)
    (folder / "fish").symlink_to(tmp_path / "secret")
    (folder / "dog/inner").symlink_to(tmp_path / "secret")
    report = import_folder(folder, name="Pets")
    assert report.added == 4
    assert {problem.file for problem in report.problems} == {"fish", "cat/link.png", "dog/inner"}
    assert "fish" not in report.image_set.classes


def test_nothing_to_import_is_refused_and_leaves_no_set(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImportRefused, match="no folder a class"):
        import_folder(tmp_path / "empty", name="Empty")
    with pytest.raises(ImportRefused, match="There is no folder"):
        import_folder(tmp_path / "absent", name="Empty")
    (tmp_path / "bad/cat").mkdir(parents=True)
    (tmp_path / "bad/cat/a.png").write_text("no")
    with pytest.raises(ImportRefused, match="None of the 1 files") as caught:
        import_folder(tmp_path / "bad", name="Empty")
    assert caught.value.problems[0].file == "cat/a.png"
    assert not ImageSet.objects.exists()


def test_a_set_of_somebody_else_is_not_added_to(folder):
    users = get_user_model().objects
    import_folder(folder, name="Pets", owner=users.create_user("ada"))
    with pytest.raises(ImportRefused, match="somebody else"):
        import_folder(folder, name="Pets", owner=users.create_user("bob"))
    assert import_folder(folder, name="Pets", owner=users.create_superuser("root")).already == 4


def test_odd_pictures_are_noted_and_found_again(folder):
    save(folder / "cat/scan.tiff", 70)
    report = import_folder(folder, name="Pets")
    assert report.added == 5
    assert "TIFF" in sentences(report.notes)
    assert Image.objects.get(name="cat/scan.tiff").file.name.endswith(".png")
    again = import_folder(folder, name="Pets")
    assert (again.added, again.already, again.problems) == (0, 5, [])


def test_a_file_cut_off_in_the_storage_is_mended(folder):
    import_folder(folder, name="Pets")
    image = Image.objects.get(name="cat/a.png")
    whole = default_storage.open(image.file.name).read()
    with open(default_storage.path(image.file.name), "wb") as stream:
        stream.write(whole[:20])
    import_folder(folder, name="Pets")
    assert default_storage.open(image.file.name).read() == whole


def test_many_batches(tmp_path, django_assert_max_num_queries):
    for seed in range(70):
        save(tmp_path / "set" / f"{'ab'[seed % 2]}/{seed}.png", seed, size=(4, 4))
    with django_assert_max_num_queries(40):
        report = import_folder(tmp_path / "set", name="Many")
    assert report.added == Image.objects.count() == ImageLabel.objects.count() == 70


@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_share_the_work(tmp_path):
    for seed in range(70):
        save(tmp_path / "set" / f"{'ab'[seed % 2]}/{seed}.png", seed, size=(40, 40))
    ImageSet.objects.create(name="Both")
    start = threading.Barrier(3)

    def work(_: int):
        start.wait()
        try:
            return import_folder(tmp_path / "set", name="Both")
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(work, range(3)))
    assert sum(report.added for report in reports) == Image.objects.count() == ImageLabel.objects.count() == 70
    assert [report.added + report.already for report in reports] == [70, 70, 70]
    assert all(report.problems == [] for report in reports)
    for image in Image.objects.all():
        assert hashlib.sha256(image.file.read()).hexdigest() == image.sha256
