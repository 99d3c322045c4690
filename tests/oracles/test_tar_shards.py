"""Tar shards beside the webdataset package: it reads what we write, and we read what it writes."""

from pathlib import Path

import webdataset
from webdataset import TarWriter

from mlcore.tars.index import class_numbers, read
from mlcore.tars.names import expand
from mlcore.tars.reading import TarMember
from mlcore.tars.writing import write
from tests.mlcore.tars.samples import png

CLASSES = ["ant", "bee", "cat"]


def test_it_reads_what_we_write(tmp_path: Path) -> None:
    samples = [
        (f"folder/{number:03d}", {"png": png(number), "cls": str(number % 3).encode(), "json": b'{"label": 1}'})
        for number in range(23)
    ]
    paths = write(samples, tmp_path, name="s", size=10).shards
    found = list(webdataset.WebDataset([str(path) for path in paths], shardshuffle=False))
    assert [one["__key__"] for one in found] == [key for key, _ in samples]
    for one, (_, files) in zip(found, samples, strict=True):
        assert {kind: one[kind] for kind in files} == files
    decoded = next(iter(webdataset.WebDataset(str(paths[0]), shardshuffle=False).decode("rgb8").to_tuple("png", "cls")))
    assert decoded[0].shape == (24, 24, 3)
    assert decoded[1] == 0


def test_we_read_what_it_writes(tmp_path: Path) -> None:
    path = tmp_path / "theirs.tar"
    with TarWriter(str(path)) as writer:
        for number in range(9):
            label = {"cls": number % 3} if number % 2 else {"json": {"label": CLASSES[number % 3]}}
            writer.write({"__key__": f"a/{number}", "jpg": png(number), "seg.png": png(99), **label})
    found = read(path)
    assert [found.key(number) for number in range(9)] == [f"a/{number}" for number in range(9)]
    assert class_numbers(found, path.name, CLASSES).tolist() == [number % 3 for number in range(9)]
    for number, one in enumerate(webdataset.WebDataset(str(path), shardshuffle=False)):
        place = TarMember(path, one["__key__"], int(found.offsets[number]), int(found.sizes[number]))
        assert place.read() == one["jpg"] == png(number)


def test_braces_mean_what_they_mean_there() -> None:
    for pattern in ("train-{000000..000146}.tar", "{a,b}-{8..11}.tar", "plain.tar"):
        assert expand(pattern) == webdataset.shardlists.expand_urls(pattern)
