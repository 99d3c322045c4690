"""What lies where in a tar, beside the standard library's own reading, and what is wrong with a damaged one."""

import json
import os
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore.tars.index import beside, class_numbers, ensure, kept, load, read
from mlcore.tars.names import ShardsRefused
from mlcore.tars.reading import OPEN, TarMember
from mlcore.tars.writing import write
from tests.mlcore.tars.samples import png, tar


def two(path):
    return tar(
        path,
        [
            ("a/1.PNG", png(1)), ("a/1.cls", b"3\n"), ("a/1.seg.png", png(9)),
            ("a/2.json", json.dumps({"label": "bee", "x": 1}).encode()), ("a/2.jpg", b"second"),
            ("a/3.png", png(3)), (".hidden", b""),
        ],
    )  # fmt: skip


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_pictures_and_labels_lie_where_the_index_says(tmp_path, format) -> None:
    long = "folder/" + "long" * 22 + "é"  # more than a plain header's hundred letters
    files = [("1.png", png(1)), ("1.cls", b"0"), (f"{long}.png", png(2)), (f"{long}.cls", b"1")]
    path = tar(tmp_path / "t.tar", files, format)
    found = read(path)
    assert [found.key(number) for number in range(len(found))] == ["1", long]
    for number, content in enumerate((png(1), png(2))):
        member = TarMember(path, found.key(number), int(found.offsets[number]), int(found.sizes[number]))
        assert member.read() == content
    assert class_numbers(found, "t.tar", ["a", "b"]).tolist() == [0, 1]


def test_kinds_of_a_sample(tmp_path) -> None:
    found = read(two(tmp_path / "t.tar"))
    assert found.keys.tolist() == [b"a/1", b"a/2", b"a/3"]
    assert found.texts == ("3", "bee")
    assert found.labels.tolist() == [0, 1, -1]
    classes = ["ant", "bee", "cat", "dog"]
    with pytest.raises(ShardsRefused, match=r"The sample a/3 of t.tar has no label"):
        class_numbers(found, "t.tar", classes)
    with pytest.raises(ShardsRefused, match=r"The sample a/1 of t.tar has the label “3”, none of the 3 classes"):
        class_numbers(found, "t.tar", classes[:3])
    assert class_numbers(
        read(tar(tmp_path / "u.tar", [("1.png", b"p"), ("1.cls", b"bee")])), "u", classes
    ).tolist() == [1]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([("1.cls", b"0")], "The sample 1 of t.tar has no picture"),
        ([("1.png", b""), ("1.jpg", b"")], "The sample 1 of t.tar has several pictures"),
        ([("1.png", b""), ("2.png", b""), ("1.cls", b"")], "holds the sample 1 twice"),
        ([("1.png", b""), ("1.png", b"")], "two files .png"),
        ([("README", b"")], "“README” is no file of a sample"),
        ([("1.png", b""), ("1.json", b"{")], "The .json of the sample 1 of t.tar cannot be read"),
        ([("1.png", b""), ("1.json", b'{"label": 1.5}')], "neither a number nor a name"),
        ([("1.png", b""), ("1.json", b'{"label": true}')], "neither a number nor a name"),
        ([("1.png", b""), ("1.cls", b"\xff")], "The .cls of the sample 1 of t.tar cannot be read"),
        ([], "holds no sample"),
    ],
)
def test_a_sample_that_is_wrong_is_named(tmp_path, files, says) -> None:
    with pytest.raises(ShardsRefused, match=says):
        read(tar(tmp_path / "t.tar", files))


def test_damage_is_named_with_where_it_begins(tmp_path) -> None:
    path = two(tmp_path / "t.tar")
    whole = path.read_bytes()
    ends = [0]
    with tarfile.open(path) as opened:
        for member in opened:
            ends.append(member.offset_data + -(-member.size // 512) * 512)
    # Between members, within one, within a header, and before the end mark.
    for cut in (ends[2], ends[3] - 700, ends[3] + 100, ends[-1]):
        path.write_bytes(whole[:cut])
        with pytest.raises(ShardsRefused, match=r"t.tar is damaged or cut short after (a/|\.hidden)"):
            read(path)
    spoiled = bytearray(whole)
    spoiled[ends[3] : ends[3] + 512] = b"x" * 512
    path.write_bytes(spoiled)
    with pytest.raises(ShardsRefused, match=r"t.tar is damaged or cut short after a/1.seg.png"):
        read(path)
    for content in (b"", b"no tar at all" * 100, b"\x1f\x8b" + bytes(600)):
        path.write_bytes(content)
        with pytest.raises(ShardsRefused, match=r"t.tar (is no tar|is damaged|holds no sample)"):
            read(path)


@given(st.binary(max_size=3000))
def test_whatever_the_bytes_are_a_sentence_comes(tmp_path_factory, content) -> None:
    path = tmp_path_factory.mktemp("t") / "t.tar"
    path.write_bytes(content)
    with pytest.raises(ShardsRefused):
        read(path)


# --- kept ---


def test_an_index_is_kept_until_its_tar_changes(tmp_path) -> None:
    path, folder = two(tmp_path / "t.tar"), tmp_path / "indexes"
    assert kept(path, folder) is None
    index, place = ensure(path, folder)
    assert place.parent == folder
    assert load(path, place).digest() == index.digest() == read(path).digest()
    assert ensure(path, folder)[1] == place
    os.utime(path, ns=(1, 1))
    assert kept(path, folder) is None
    assert ensure(path, folder)[0].digest() == index.digest(), "touched, but the same"
    tar(path, [("1.png", b"other"), ("1.cls", b"0")])
    with pytest.raises(ShardsRefused, match=r"t.tar was changed since it was looked through"):
        load(path, place)
    assert ensure(path, folder)[0].digest() != index.digest()
    place.write_bytes(b"PK nonsense")
    assert kept(path, folder) is None
    assert len(ensure(path, folder)[0]) == 1


def test_the_digest_sees_labels_and_places(tmp_path) -> None:
    digests = {
        read(tar(tmp_path / f"{number}.tar", files)).digest()
        for number, files in enumerate(
            [
                [("1.png", b"p"), ("1.cls", b"0")],
                [("1.png", b"p"), ("1.cls", b"1")],
                [("2.png", b"p"), ("2.cls", b"0")],
                [("1.cls", b"0"), ("1.png", b"p")],
            ]
        )
    }
    assert len(digests) == 4


# --- written ---


def many(count: int):
    for number in range(count):
        yield f"{number:05d}", {"png": b"%d" % number, "cls": b"%d" % (number % 3)}


def test_what_is_written_is_read_and_equal_each_time(tmp_path) -> None:
    first, second = (write(many(25), tmp_path / name, name="s", size=10) for name in ("one", "two"))
    assert [path.name for path in first.shards] == ["s-000000.tar", "s-000001.tar", "s-000002.tar"]
    assert first.samples == 25
    for one, two in zip(first.shards, second.shards, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert beside(one).is_file()
        assert load(one, beside(one)).digest() == read(two).digest()
    with tarfile.open(first.shards[2]) as opened:
        names = opened.getnames()
        assert names == [f"{number:05d}.{kind}" for number in range(20, 25) for kind in ("png", "cls")]
        assert opened.extractfile("00024.cls").read() == b"0"
    with pytest.raises(FileExistsError, match=r"s-000000.tar is there already"):
        write(many(2), tmp_path / "one", name="s")


@pytest.mark.parametrize("key", ["", "a.b", "/a", ".a"])
def test_a_key_that_would_be_read_otherwise_is_refused(tmp_path, key) -> None:
    with pytest.raises(ValueError, match="cannot be the key"):
        write([("fine", {"png": b""}), (key, {"png": b""})], tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- read ---


def test_more_tars_than_may_be_open(tmp_path) -> None:
    paths = [tar(tmp_path / f"{number}.tar", [("1.png", b"%d" % number)]) for number in range(OPEN + 5)]
    for _ in range(2):
        for number, path in enumerate(paths):
            assert TarMember(path, "1", 512, len(str(number))).read() == b"%d" % number
    with pytest.raises(OSError, match=r"0.tar ends within it"):
        TarMember(paths[0], "1", 512, 1 << 20).read()
    with pytest.raises(OSError, match="No such file"):
        TarMember(tmp_path / "gone.tar", "1", 0, 1).read()


def test_the_index_of_many_samples_is_small(tmp_path) -> None:
    count = 5_000
    path = write(many(count), tmp_path, size=count).shards[0]
    place = beside(path)
    tracemalloc.start()
    index = load(path, place)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(index) == count
    assert held < 64 * count
