"""Pictures of an introduction: decoded, encoded anew, and kept while a text shows them."""

import io
import struct

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from PIL import Image as Pictures

from annotation import publishing, study_pictures
from annotation.errors import StudyRefused
from tests.annotation.factories import ratings

pytestmark = pytest.mark.django_db


def address(name: str, *args) -> str:
    return reverse(f"admin:annotation_study_{name}", args=args)


def picture(size=(40, 30), kind="PNG", mode="RGB", **options) -> bytes:
    stream = io.BytesIO()
    Pictures.new(mode, size, "red" if mode != "RGBA" else (255, 0, 0, 90)).save(stream, kind, **options)
    return stream.getvalue()


def upload(data: bytes, name: str = "A map.PNG") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data)


@pytest.fixture
def draft(client):
    study = ratings(2, live=False)
    client.force_login(study.owner)
    return study


def test_a_picture_is_added_and_shown(draft, client):
    answer = client.post(address("pictures", draft.pk), {"picture": upload(picture()), "name": ""})
    assert answer.status_code == 302
    made = draft.pictures.get()
    assert (made.name, made.width, made.height) == ("a-map", 40, 30)
    assert "picture:a-map" in client.get(address("pictures", draft.pk)).content.decode()
    shown = client.get(address("picture", draft.pk, made.pk))
    with Pictures.open(io.BytesIO(shown.content)) as read:
        assert read.size == (40, 30)


def test_only_pixels_are_kept(draft):
    exif = Pictures.Exif()
    exif[0x010E] = "secret place"
    exif[0x0112] = 6  # turned by a quarter
    made = study_pictures.add_picture(draft, draft.owner, upload(picture(kind="JPEG", exif=exif), "x.jpg"))
    data = made.file.read()
    assert b"secret" not in data
    assert (made.width, made.height) == (30, 40)
    clear = study_pictures.add_picture(draft, draft.owner, upload(picture(mode="RGBA"), "clear.png"))
    with Pictures.open(clear.file) as read:
        assert (read.format, read.mode) == ("PNG", "RGBA")
    large = study_pictures.add_picture(draft, draft.owner, upload(picture((4000, 1000)), "large.png"))
    assert (large.width, large.height) == (1600, 400)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "SVG"),
        (b"GIF89a" + b"\x00" * 20, "damaged|not a picture"),
        (picture()[:60], "damaged"),
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", 60_000, 60_000, 8, 2, 0, 0, 0, 0),
         "pixels|damaged|not a picture"),
        (b"x" * (10 * 1024 * 1024 + 1), "more than 10 MB"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(draft, client, data, sentence):
    with pytest.raises(StudyRefused, match=sentence):
        study_pictures.add_picture(draft, draft.owner, upload(data))
    answer = client.post(address("pictures", draft.pk), {"picture": upload(data or b" "), "name": "kept"})
    assert answer.status_code == 422
    assert 'value="kept"' in answer.content.decode()
    assert not draft.pictures.exists()


def test_names_are_plain_and_once_a_study(draft):
    assert study_pictures.plain_name("C:\\fotos\\Über Uns.final.PNG") == "ber-uns-final"
    assert study_pictures.plain_name("???").startswith("picture-")
    study_pictures.add_picture(draft, draft.owner, upload(picture()), "one")
    with pytest.raises(StudyRefused, match="already has a picture called “one”"):
        study_pictures.add_picture(draft, draft.owner, upload(picture()), "One")


def test_a_picture_that_a_text_shows_stays(draft, client, django_capture_on_commit_callbacks):
    made = study_pictures.add_picture(draft, draft.owner, upload(picture()), "map")
    study_pictures.add_picture(draft, draft.owner, upload(picture()), "map-2")
    plan = draft.version.plan | {"introduction": [{"title": "", "text": "See ![a map](picture:map-2)."}]}
    publishing.revise(draft, draft.owner, plan=plan)
    copied = publishing.copy_study(draft, draft.owner, "copy")
    with django_capture_on_commit_callbacks(execute=True):
        client.post(address("picture_delete", draft.pk, made.pk))
        client.post(address("picture_delete", draft.pk, draft.pictures.get(name="map-2").pk))
    assert list(draft.pictures.values_list("name", flat=True)) == ["map-2"]
    twin = copied.pictures.get(name="map")
    assert twin.file.storage.exists(twin.file.name)  # the copy still shows it
    with django_capture_on_commit_callbacks(execute=True):
        study_pictures.remove_picture(twin, draft.owner)
    assert not twin.file.storage.exists(made.file.name)
