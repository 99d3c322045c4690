"""Which files a wish means, and that none of them lies elsewhere."""

import pytest

from mlcore.tars.names import ShardsRefused, expand, find


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("t-{008..011}.tar", ["t-008.tar", "t-009.tar", "t-010.tar", "t-011.tar"]),
        ("{9..11}", ["9", "10", "11"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
    ],
)
def test_braces_mean_what_a_shell_means(pattern, names) -> None:
    assert expand(pattern) == names


@pytest.mark.parametrize("pattern", ["t-{0..3.tar", "t-0..3}.tar", "{3..1}", "{0..100000}", "{0..999}{0..999}"])
def test_what_braces_cannot_mean_is_refused(pattern) -> None:
    with pytest.raises(ShardsRefused, match="“"):
        expand(pattern)


def test_a_folder_means_its_tars_by_name(tmp_path) -> None:
    for name in ("b.tar", "a.tar", ".c.tar", "a.tar.index.npz", "d.txt"):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / name).touch()
    assert [path.name for path in find("set", tmp_path)] == ["a.tar", "b.tar"]
    assert [path.name for path in find(f"{tmp_path}/set/{{b,a}}.tar", tmp_path)] == ["b.tar", "a.tar"]


def test_nothing_outside_the_folder_is_read(tmp_path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "secret.tar").touch()
    (allowed / "link.tar").symlink_to(tmp_path / "secret.tar")
    for wish in ("../secret.tar", f"{tmp_path}/secret.tar", "link.tar", "/", ".."):
        with pytest.raises(ShardsRefused, match="outside the folder of shards"):
            find(wish, allowed)
    with pytest.raises(ShardsRefused, match="outside the folder of shards"):
        find(".", allowed)  # its own link leads out
    with pytest.raises(ShardsRefused, match="names one in the setting SHARDS_DIR"):
        find("link.tar", "")


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ("none.tar", "There is no shard none.tar"),
        ("{a,x,y}.tar", r"There is no shard x.tar \(and 1 more\)"),
        ("empty", "holds no .tar file"),
        ("{a,a}.tar", "names a shard twice"),
        ("a\0.tar", "is no path"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, wish, says) -> None:
    (tmp_path / "a.tar").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ShardsRefused, match=says):
        find(wish, tmp_path)
