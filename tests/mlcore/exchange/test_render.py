"""Maps as pictures: torch's bilinear numbers, hand-computed colours, and scales that say no more than they should."""

import io
import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from django.core.files.base import ContentFile
from PIL import Image as Pictures

from mlcore.exchange import render, shards
from mlcore.exchange.colormaps import COLORMAPS
from mlcore.models import Classifier, Explanation, ExplanationSet, Image, ImageSet
from tests.mlcore.exchange.pictures import noise, png_of

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("shape", "size"), [((7, 7), (224, 160)), ((3, 5), (5, 3)), ((12, 9), (4, 5)), ((1, 1), (3, 2))]
)
def test_bilinear_is_torchs(shape, size):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None, None], size=(size[1], size[0]), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    np.testing.assert_allclose(render.bilinear(values, size), wanted, atol=1e-5)  # torch finds the places in float32


def test_bilinear_by_hand():
    # Two cells to four places: centres at −0.25, 0.25, 0.75, 1.25 of the cells; the border goes on flat.
    assert render.bilinear(np.array([[0.0, 1.0]]), (4, 1)).tolist() == [[0.0, 0.25, 0.75, 1.0]]


def test_colour_maps_are_matplotlibs_and_the_browsers():
    matplotlib = pytest.importorskip("matplotlib")
    script = (ROOT / "static/js/colormaps.js").read_text()
    for name, table in COLORMAPS.items():
        if name == "reds":  # matplotlib's Reds end in a dark red
            continue
        wanted = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
        assert np.array_equal(table, wanted)
        numbers = re.search(rf"export const {name} = new Uint8Array\((\[[^\]]*\])\)", script)
        assert json.loads(re.sub(r",\s*\]", "]", numbers[1])) == wanted.reshape(-1).tolist()


def test_reds_go_evenly_from_white_to_red():
    reds = COLORMAPS["reds"]
    assert reds[[0, 1, 128, 255]].tolist() == [[255, 255, 255], [255, 254, 254], [255, 127, 127], [255, 0, 0]]


@pytest.fixture
def explain(db, tmp_path):
    """explain(map, picture) → an Explanation whose map lies in a shard of its own."""
    image_set = ImageSet.objects.create(name="Set", classes=["a", "b"])
    classifier = Classifier.objects.create(name="net", architecture="sixconv", classes=["a", "b"])
    from django.core.files.storage import default_storage

    def make(*maps, picture=None, index=0) -> Explanation:
        number = Explanation.objects.count()
        picture = picture or noise(24, 16, seed=number)
        image = Image(image_set=image_set, name=f"{number}.png", sha256=f"{number:064d}")
        image.width, image.height = picture.size
        image.file.save("a.png", ContentFile(png_of(picture)), save=True)
        made = ExplanationSet.objects.create(
            classifier=classifier, image_set=image_set, method="grad_cam", code_version="1", hash=str(number)
        )
        stream = io.BytesIO()
        np.savez(stream, maps=np.array(maps, dtype=np.float32))
        shard = default_storage.save(f"shards/{number}.npz", stream)
        height, width = np.shape(maps[0])
        return Explanation.objects.create(
            set=made, image=image, shard=shard, index=index, height=height, width=width, target=0
        )

    return make


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Pictures.open(io.BytesIO(png)))


def test_map_png_by_hand(explain):
    row = explain([[-3.0, 2.0]])
    # Clamped: 0, 2. At four places: 0, 0.5, 1.5, 2. Over its own maximum, times 255: 0, 63.75, 191.25, 255.
    assert pixels(render.map_png(row, size=(4, 1))).tolist() == [[0, 64, 191, 255]]
    assert pixels(render.map_png(row, size=(4, 1), scale=4.0)).tolist() == [[0, 32, 96, 128]]
    assert pixels(render.map_png(row, size=(4, 1), scale=1.0)).tolist() == [[0, 128, 255, 255]]
    assert Pictures.open(io.BytesIO(render.map_png(row, size=(30, 20)))).mode == "L"
    with pytest.raises(ValueError, match="positive number"):
        render.map_png(row, size=(4, 1), scale=0)


def test_a_maps_strength_does_not_show_in_its_own_scale(explain):
    values = np.random.default_rng(0).random((7, 7)) * 2 - 0.5
    weak, strong = explain(values), explain(values * 1000)
    assert render.map_png(weak, size=(60, 40)) == render.map_png(strong, size=(60, 40))


def test_maps_that_say_nothing_are_black(explain):
    for values in ([[0, 0]], [[-1, -2]], [[np.nan, np.nan]], [[np.inf, -np.inf]]):
        assert not pixels(render.map_png(explain(values), size=(8, 8))).any()


def test_rows_of_a_shard(explain):
    row = explain([[1.0, 2.0]], [[3.0, 4.0]], index=1)
    loaded = render.load_map(row)
    assert loaded.dtype == np.float32
    assert loaded.tolist() == [[3.0, 4.0]]
    loaded[:] = 0
    assert render.load_map(row).tolist() == [[3.0, 4.0]]  # what a caller does to its copy stays with it
    row.index = 2
    with pytest.raises(render.MapUnavailable, match="map 2 is not in its file"):
        render.load_map(row)


def test_large_shards_are_read_map_by_map(explain, monkeypatch):
    row = explain([[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]], index=1)
    monkeypatch.setattr(shards, "BUDGET", 8)
    monkeypatch.setattr(shards, "_cache", shards._Cache(8))
    assert render.load_map(row).tolist() == [[3.0, 4.0]]
    assert all(which >= 0 for *_, which in shards._cache.held)  # the whole shard was never held
    row.index = 3
    with pytest.raises(render.MapUnavailable):
        render.load_map(row)


def test_the_cache_sees_a_new_file_and_forgets_the_oldest(explain, monkeypatch):
    from django.core.files.storage import default_storage

    row = explain([[1.0, 2.0]])
    assert render.load_map(row).tolist() == [[1.0, 2.0]]
    path = default_storage.path(row.shard)
    np.savez(path, maps=np.array([[[7.0, 8.0]]], dtype=np.float32))
    os.utime(path, (time.time() + 10, time.time() + 10))
    assert render.load_map(row).tolist() == [[7.0, 8.0]]

    cache = shards._Cache(budget=40)
    for number in range(3):
        cache.put((str(number), 0, 0), np.zeros(4, dtype=np.float32))
    assert [key[0] for key in cache.held] == ["1", "2"]
    assert cache.get(("0", 0, 0)) is None


def test_missing_and_damaged_shards_are_said(explain):
    from django.core.files.storage import default_storage

    row = explain([[1.0, 2.0]])
    with open(default_storage.path(row.shard), "wb") as stream:
        stream.write(b"PK\x03\x04 not really")
    with pytest.raises(render.MapUnavailable, match="damaged"):
        render.load_map(row)
    default_storage.delete(row.shard)
    with pytest.raises(render.MapUnavailable, match="missing"):
        render.load_map(row)


def test_overlay_and_spotlight_by_hand(explain):
    grey = Pictures.new("RGB", (2, 1), (100, 200, 40))
    row = explain([[0.0, 1.0]], picture=grey)
    first, last = COLORMAPS["magma"][0], COLORMAPS["magma"][255]
    mixed = np.asarray(render.overlay(row, colormap="magma", opacity=0.5))
    assert mixed[0, 0].tolist() == np.rint(np.array([50, 100, 20]) + first / 2).tolist()
    assert mixed[0, 1].tolist() == np.rint(np.array([50, 100, 20]) + last / 2).tolist()
    assert np.asarray(render.overlay(row, style="spotlight")).tolist() == [[[0, 0, 0], [100, 200, 40]]]
    half = np.asarray(render.overlay(row, style="spotlight", opacity=0.5))
    assert half.tolist() == [[[50, 100, 20], [100, 200, 40]]]
    assert np.array_equal(np.asarray(render.overlay(row, opacity=0)), np.asarray(grey))


def test_contours_are_lines_on_an_untouched_picture(explain):
    ground = Pictures.new("RGB", (64, 64), (10, 120, 30))
    ramp = np.tile(np.linspace(0, 1, 64), (64, 1))
    drawn = np.asarray(render.overlay(explain(ramp, picture=ground), style="contour"))
    changed = (drawn != [10, 120, 30]).any(axis=(0, 2))
    # The ramp passes each level at one column; a line with its rim is three columns wide.
    columns = [next(x for x in range(64) if round(x / 63 * 255) > level) for level in render.LEVELS]
    assert set(np.flatnonzero(changed)) == {x + dx for x in columns for dx in (-1, 0, 1)}
    for x, level in zip(columns, render.LEVELS, strict=True):
        assert drawn[5, x].tolist() == COLORMAPS["cividis"][level + 64].tolist()


def test_a_masks_outline(explain):
    row = explain(np.zeros((4, 4)), picture=Pictures.new("RGB", (20, 20), (90, 90, 90)))
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:15, 5:15] = True
    for given in (mask, Pictures.fromarray(mask.astype(np.uint8) * 255)):
        drawn = np.asarray(render.overlay(row, style="contour", mask=given))
        white = (drawn == 255).all(axis=2)
        inner = np.zeros_like(mask)
        inner[6:14, 6:14] = True
        assert np.array_equal(white, mask & ~inner)
        assert drawn[10, 10].tolist() == drawn[0, 0].tolist() == [90, 90, 90]


def test_sizes(explain):
    row = explain(np.eye(3), picture=noise(200, 100))
    assert render.overlay(row).size == (200, 100)
    assert render.overlay(row, side=50, style="contour", mask=np.ones((100, 200), dtype=bool)).size == (50, 25)
    assert render.thumbnail(row.image, 50).size == (50, 25)
    assert render.thumbnail(row.image, 500).size == (200, 100)
    assert render.thumbnail(row.image, 50).mode == "RGB"


def test_unknown_styles_and_colours_are_refused(explain):
    row = explain(np.eye(3))
    with pytest.raises(ValueError, match="not a style"):
        render.overlay(row, style="fog")
    with pytest.raises(ValueError, match="not a colour map"):
        render.overlay(row, colormap="jet")
