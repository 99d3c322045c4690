"""Sound pictures keep their bytes; odd ones are written anew and say so; hostile ones are refused in words."""

import hashlib
import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from mlcore.exchange.verify import BadImage, verify
from tests.mlcore.exchange.pictures import noise, png_of, png_that_claims, save


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp"])
def test_sound_pictures_keep_their_bytes(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}")
    found = verify(path)
    assert found.data == path.read_bytes()
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.width, found.height, found.suffix, found.note) == (24, 16, suffix, "")


def test_the_content_decides_what_a_file_is(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(png_of(noise()))
    assert verify(path).suffix == "png"


def refused(path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(BadImage) as caught:
        verify(path)
    return str(caught.value)


def test_hostile_and_broken_files_are_refused_in_words(tmp_path):
    path = tmp_path / "a.png"
    jpeg = io.BytesIO()
    noise(200, 200).save(jpeg, "JPEG")
    assert refused(path, b"") == "The file is empty."
    assert "not a picture that can be read" in refused(path, b"I am a text, whatever my name says.")
    assert "not a picture that can be read" in refused(path, b"%PDF-1.4 \x00\x01" * 50)
    assert "SVG" in refused(path, b'<?xml version="1.0"?><svg onload="alert(1)"/>')
    assert "damaged or cut off" in refused(path, jpeg.getvalue()[: len(jpeg.getvalue()) // 2])
    assert "damaged or cut off" in refused(path, png_of(noise(100, 100))[:2000])
    assert "damaged or cut off" in refused(path, png_that_claims(100, 100))
    with pytest.raises(BadImage, match="cannot be read"):
        verify(tmp_path / "absent.png")


def test_pixel_limits_are_checked_before_pixels_are_made(tmp_path, settings):
    settings.IMAGE_MAX_PIXELS = 1000
    assert "has 100×11 pixels" in refused(tmp_path / "a.png", png_of(noise(100, 11)))
    assert "has 60000×2000 pixels" in refused(tmp_path / "a.png", png_that_claims(60_000, 2_000))
    assert "more pixels than any picture should" in refused(tmp_path / "a.png", png_that_claims(60_000, 60_000))
    settings.IMAGE_MAX_PIXELS = 1100
    assert verify(save(tmp_path / "b.png", size=(100, 11))).width == 100


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_never_escape_as_another_error(tmp_path, seed):
    generator = np.random.default_rng(seed)
    kinds = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
    stream = io.BytesIO()
    noise(40, 30, seed).save(stream, kinds[seed % len(kinds)])
    data = bytearray(stream.getvalue())
    for place in generator.integers(4, len(data), 12):
        data[place] = generator.integers(256)
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(data))
    try:
        found = verify(path)
    except BadImage:
        return  # any other exception fails the test
    assert found.width > 0


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_pictures_come_out_upright(tmp_path, orientation):
    values = np.asarray(noise(24, 16))
    # What each EXIF value asks for, as array operations: mirrored, half turn, flipped, transposed, …
    upright = {
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.swapaxes(0, 1),
        6: np.rot90(values, 3),
        7: np.rot90(values, 2).swapaxes(0, 1),
        8: np.rot90(values, 1),
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "a.png"
    noise(24, 16).save(path, exif=exif)
    found = verify(path)
    assert "EXIF" in found.note
    assert (found.height, found.width) == upright.shape[:2]
    assert np.array_equal(decoded(found.data), upright)
    assert Image.open(io.BytesIO(found.data)).getexif().get(ExifTags.Base.Orientation) is None


def test_an_upright_entry_changes_nothing(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    path = tmp_path / "a.jpg"
    noise().save(path, exif=exif)
    assert verify(path).data == path.read_bytes()


def test_odd_colours_become_plain_ones(tmp_path):
    cmyk = tmp_path / "a.jpg"
    noise().convert("CMYK").save(cmyk, quality=95)
    found = verify(cmyk)
    assert "CMYK" in found.note
    assert Image.open(io.BytesIO(found.data)).mode == "RGB"

    deep = tmp_path / "b.png"
    Image.fromarray(np.array([[0, 257, 65535], [128, 129, 32896]], dtype=np.uint16)).save(deep)
    found = verify(deep)
    assert "16-bit" in found.note
    assert decoded(found.data).tolist() == [[0, 1, 255], [0, 1, 128]]

    floats = tmp_path / "c.tiff"
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(floats)
    with pytest.raises(BadImage, match="32-bit"):
        verify(floats)


def test_see_through_places_become_white_and_opaque_alpha_stays(tmp_path):
    palette = Image.fromarray(np.array([[0, 1], [2, 3]], dtype=np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    path = tmp_path / "a.png"
    palette.save(path, transparency=1)
    found = verify(path)
    assert "white" in found.note
    assert decoded(found.data).tolist() == [[[255, 0, 0], [255, 255, 255]], [[0, 0, 255], [9, 9, 9]]]

    opaque = tmp_path / "b.png"
    noise().convert("RGBA").save(opaque)
    assert verify(opaque).data == opaque.read_bytes()


def test_only_the_first_frame_of_a_film_is_kept(tmp_path):
    path = tmp_path / "a.gif"
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(path, save_all=True, append_images=[second])
    found = verify(path)
    assert "first of its frames" in found.note
    assert (decoded(found.data) == [255, 0, 0]).all()


def test_writing_anew_is_the_same_twice(tmp_path):
    path = tmp_path / "a.tiff"
    noise().save(path)
    assert verify(path).sha256 == verify(path).sha256
    assert "TIFF" in verify(path).note
