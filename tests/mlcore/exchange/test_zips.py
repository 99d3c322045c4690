"""A zip from outside: pictures come out, nothing else does, and nothing lands beside the folder."""

import io
import stat
import zipfile
from pathlib import Path

import pytest

from mlcore.exchange import zips
from mlcore.exchange.report import ImportRefused


def packed(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    stream.seek(0)
    return stream


def test_pictures_and_tables_come_out_and_the_rest_stays(tmp_path: Path):
    upload = packed(
        {
            "set/cat/1.jpg": b"a",
            "set/dog/2.PNG": b"b",
            "set/labels.csv": b"file,label\n",
            "set/run.sh": b"rm",
            "set/.hidden.png": b"c",
            "__MACOSX/set/cat/._1.jpg": b"d",
        }
    )
    root = zips.unpack(upload, tmp_path)
    assert root == tmp_path / "set"
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {"cat/1.jpg", "dog/2.PNG", "labels.csv"}
    assert not (tmp_path / "__MACOSX").exists()


def test_one_class_alone_stays_a_class(tmp_path: Path):
    assert zips.unpack(packed({"cat/1.jpg": b"a"}), tmp_path) == tmp_path


@pytest.mark.parametrize("name", ["../1.jpg", "a/../../1.jpg", "/tmp/1.jpg", "a\\..\\1.jpg", "C:1.jpg"])
def test_paths_that_lead_out_are_refused_and_nothing_is_written(tmp_path: Path, name: str):
    inside = tmp_path / "in"
    inside.mkdir()
    upload = packed({"cat/1.jpg": b"a"})
    with zipfile.ZipFile(upload, "a") as archive:
        entry = zipfile.ZipInfo("x.jpg")
        entry.filename = name
        archive.writestr(entry, b"b")
    upload.seek(0)
    with pytest.raises(ImportRefused, match="leads out"):
        zips.unpack(upload, inside)
    assert list(tmp_path.rglob("*.jpg")) == []


def test_links_are_refused(tmp_path: Path):
    upload = io.BytesIO()
    with zipfile.ZipFile(upload, "w") as archive:
        entry = zipfile.ZipInfo("cat/1.jpg")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    upload.seek(0)
    with pytest.raises(ImportRefused, match="is a link"):
        zips.unpack(upload, tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path):
    with pytest.raises(ImportRefused, match="far more than it is"):
        zips.unpack(packed({"cat/1.png": b"\0" * 4_000_000}), tmp_path)
    assert list(tmp_path.rglob("*.png")) == []


def test_too_many_and_too_much_are_refused(tmp_path: Path, monkeypatch):
    upload = packed({f"cat/{number}.jpg": b"abc" for number in range(4)})
    monkeypatch.setattr(zips, "MOST_FILES", 3)
    with pytest.raises(ImportRefused, match="holds 4 files"):
        zips.unpack(upload, tmp_path)
    monkeypatch.setattr(zips, "MOST_FILES", 4)
    monkeypatch.setattr(zips, "MOST_BYTES", 11)
    with pytest.raises(ImportRefused, match="larger than"):
        zips.unpack(upload, tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a zip", packed({"a/1.jpg": b"a"}).getvalue()[:40]])
def test_what_is_no_zip_is_refused(tmp_path: Path, content: bytes):
    with pytest.raises(ImportRefused, match="cannot be read as a zip"):
        zips.unpack(io.BytesIO(content), tmp_path)


def test_a_zip_without_pictures_is_refused(tmp_path: Path):
    with pytest.raises(ImportRefused, match="no pictures"):
        zips.unpack(packed({"readme.md": b"hello"}), tmp_path)
