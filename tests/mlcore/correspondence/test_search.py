"""Nearest neighbours against a plain computation in numpy, by every kind of search."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from mlcore.correspondence import search
from mlcore.correspondence.faiss_search import MISSING
from mlcore.correspondence.search import KINDS, NOBODY, ExactIndex, cosines, index_of, recall
from mlcore.correspondence.store import update
from tests.mlcore.correspondence.pictures_of_numbers import KEY, Counting, items_of

try:
    import faiss  # noqa: F401
except ImportError:
    HERE = ("exact",)
else:
    HERE = KINDS
needs_faiss = pytest.mark.skipif(len(HERE) == 1, reason="faiss is not installed here (pip install faiss-cpu)")


def features(count: int, channels: int = 32, *, seed: int = 0, classes: int = 40) -> torch.Tensor:
    """As a classifier's: images of a class lie together, all of them in the positive corner."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(classes, channels, generator=torch.Generator().manual_seed(99))
    chosen = torch.randint(classes, (count,), generator=generator)
    return (centres[chosen] + 0.3 * torch.randn(count, channels, generator=generator)).relu().half()


def brute_force(queries: torch.Tensor, pooled: torch.Tensor, k: int, exclude=None):
    """Every cosine in float64, sorted by it and then by row."""
    one, other = queries.double().numpy(), pooled.double().numpy()
    scores = one @ other.T / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(other, axis=1)
    for row, out in enumerate(exclude if exclude is not None else []):
        if out >= 0:
            scores[row, out] = -np.inf
    scores = scores.astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return torch.from_numpy(order), torch.from_numpy(np.take_along_axis(scores, order, axis=1))


def assert_equals(found, wanted, *, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(found[1], wanted[1], atol=tolerance, rtol=0)
    # Rows may differ only where two scores are the same number but for rounding.
    other = found[0] != wanted[0]
    assert other.float().mean() < 0.01
    assert found[0].dtype == torch.int64


@pytest.mark.parametrize("kind", [kind for kind in HERE if kind in ("exact", "flat")])
@pytest.mark.parametrize("block", [7 * 32 * 4, 16 << 20])
def test_complete_searches_equal_brute_force(kind, block, monkeypatch):
    monkeypatch.setattr(search, "BLOCK_BYTES", block)
    monkeypatch.setattr(search, "TILE", 16)
    pooled, queries = features(500), features(70, seed=1).float()
    assert_equals(index_of(kind, pooled).search(queries, 50), brute_force(queries, pooled, 50))


@pytest.mark.parametrize("kind", HERE)
def test_a_row_that_is_left_out_is_no_neighbour(kind):
    pooled = features(400)
    own = torch.arange(400)
    own[5] = NOBODY
    rows, scores = index_of(kind, pooled).search(pooled.float(), 10, exclude=own)
    assert not (rows == own.unsqueeze(1))[own >= 0].any()
    assert rows[5, 0] == 5
    assert scores[5, 0] == 1
    if kind in ("exact", "flat"):
        assert_equals((rows, scores), brute_force(pooled, pooled, 10, own))


@pytest.mark.parametrize("kind", HERE)
def test_of_equal_pictures_the_lower_row_is_first(kind):
    pooled = features(300)
    same = [250, 3, 120, 77]
    pooled[same] = pooled[250].clone()
    rows, scores = index_of(kind, pooled).search(pooled[250:251].float() * 3, 6)
    assert rows[0, :4].tolist() == sorted(same)
    assert torch.equal(scores[0, :4], torch.ones(4))


@pytest.mark.parametrize("block", [50 * 32 * 4, 16 << 20])
def test_of_many_equal_pictures_the_lowest_are_found(block, monkeypatch):
    monkeypatch.setattr(search, "BLOCK_BYTES", block)
    pooled = features(400)
    pooled[40:340] = pooled[0].clone()
    rows, _ = index_of("exact", pooled).search(pooled[:1].float(), 30)
    assert rows[0].tolist() == [0, *range(40, 69)]


@pytest.mark.parametrize("kind", HERE)
def test_a_batch_says_what_its_queries_say_alone(kind):
    pooled, queries = features(700), features(33, seed=2).float()
    index = index_of(kind, pooled)
    exclude = torch.arange(33) * 20
    together = index.search(queries, 20, exclude=exclude)
    alone = [index.search(queries[i : i + 1], 20, exclude=exclude[i : i + 1]) for i in range(33)]
    assert torch.equal(together[0], torch.cat([rows for rows, _ in alone]))
    assert torch.equal(together[1], torch.cat([scores for _, scores in alone]))


@pytest.mark.parametrize("kind", HERE)
def test_where_there_are_fewer_rows_than_asked_for(kind):
    pooled = features(4)
    rows, scores = index_of(kind, pooled).search(pooled[:2].float(), 6, exclude=torch.tensor([0, NOBODY]))
    assert (rows[0, :3] > 0).all()
    assert rows[0, 3:].tolist() == [NOBODY] * 3
    assert rows[1, 4:].tolist() == [NOBODY] * 2
    assert (scores[rows == NOBODY] == -torch.inf).all()
    assert scores[rows != NOBODY].isfinite().all()


@pytest.mark.parametrize("kind", HERE)
def test_a_picture_without_features_is_alike_to_nothing(kind):
    pooled = features(60)
    pooled[7] = 0
    rows, scores = index_of(kind, pooled).search(torch.cat([pooled[:1].float(), torch.zeros(1, 32)]), 60)
    assert scores[0][rows[0] == 7].abs().sum() == 0
    assert (scores[1][rows[1] >= 0] == 0).all()
    assert not scores.isnan().any()


def test_a_gallery_is_searched_from_its_files(tmp_path):
    numbers = list(range(80))
    gallery = update(tmp_path, KEY, items_of(numbers), Counting(numbers), batch=16)
    queries = gallery.pooled(range(10))
    for kind in HERE:
        from_files = index_of(kind, gallery.pooled_rows).search(queries, 5)
        in_memory = index_of(kind, gallery.pooled()).search(queries, 5)
        assert torch.equal(from_files[0], in_memory[0])
        assert torch.equal(from_files[1], in_memory[1])


@needs_faiss
def test_approximate_searches_find_most_of_the_nearest():
    pooled, queries = features(4000, classes=100), features(60, seed=3, classes=100).float()
    exact, scores = index_of("exact", pooled).search(queries, 20)
    for kind in ("ivf", "hnsw"):
        found, said = index_of(kind, pooled).search(queries, 20)
        assert recall(found, exact) > 0.9
        assert (said <= scores + 1e-6).all()  # nobody is nearer than the nearest
    few, _ = index_of("ivf", pooled, lists=60, probes=1).search(queries, 20)
    assert recall(few, exact) < 1
    every, _ = index_of("ivf", pooled, lists=60, probes=60).search(queries, 20)
    assert recall(every, exact) == 1


@needs_faiss
def test_an_index_of_lists_is_the_same_each_time():
    pooled, queries = features(2000), features(20, seed=4).float()
    first, second = (index_of("ivf", pooled, probes=2).search(queries, 20) for _ in range(2))
    assert torch.equal(first[0], second[0])


def test_recall_by_hand():
    exact = torch.tensor([[1, 2, 3], [4, 5, NOBODY]])
    assert recall(torch.tensor([[3, 9, 1, NOBODY], [5, NOBODY, NOBODY, 4]]), exact) == pytest.approx(4 / 5)
    assert recall(exact, exact) == 1
    with pytest.raises(ValueError, match="3 queries"):
        recall(torch.zeros(3, 1), exact)
    with pytest.raises(ValueError, match="no exact neighbours"):
        recall(exact, torch.full((2, 1), NOBODY))


def test_cosines_by_hand():
    found = cosines(torch.tensor([[3.0, 4.0]]), torch.tensor([[[6.0, 8.0], [-4.0, 3.0], [-3.0, -4.0], [0.0, 0.0]]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0, -1.0, 0.0]]))


def test_what_cannot_be_searched_is_refused():
    pooled = features(20)
    with pytest.raises(ValueError, match="one of exact, flat, ivf, hnsw, not “nearest”"):
        index_of("nearest", pooled)
    with pytest.raises(ValueError, match="refuses its options"):
        index_of("exact", pooled, probes=3)
    with pytest.raises(ValueError, match="without rows"):
        ExactIndex(pooled[:0])
    index = index_of("exact", pooled)
    with pytest.raises(ValueError, match=r"\(q, 32\)"):
        index.search(torch.zeros(2, 31), 3)
    with pytest.raises(ValueError, match="At least one"):
        index.search(torch.zeros(2, 32), 0)


@needs_faiss
def test_lists_that_cannot_be_made_are_refused():
    with pytest.raises(ValueError, match="cannot be sorted into 21 lists"):
        index_of("ivf", features(20), lists=21)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_a_missing_library_is_told_in_a_sentence(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)  # what an import finds where nothing is installed
    with pytest.raises(ValueError, match="faiss is not installed here") as refused:
        index_of(kind, features(10))
    assert str(refused.value) == MISSING
    index_of("exact", features(10))


# 40,000 × 1024 in half precision is 82 MB in a file, 164 MB in float32; 400 × 40,000 scores are 64 MB.
MEMORY = """
import resource, sys
import numpy as np, torch
from mlcore.correspondence.search import index_of

def private():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) * 1024

class Mapped:
    shape = (80_000, 1024)
    def __init__(self):
        self.rows = np.memmap(sys.argv[1], np.float16, "r", shape=self.shape)
    def __getitem__(self, rows):
        return torch.from_numpy(self.rows[rows.numpy() if isinstance(rows, torch.Tensor) else rows])

gallery = Mapped()
queries = gallery[torch.arange(0, 80_000, 200)].float()
index_of("exact", gallery[:512]).search(queries[:2], 5)  # threads and their stacks are there now
limit = private() + 320_000_000  # whole it takes 490
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
if sys.argv[2] == "whole":
    torch.from_numpy(np.array(gallery.rows)).float()
rows, scores = index_of("exact", gallery).search(queries, 50)
assert (rows[:, 0] == torch.arange(0, 80_000, 200)).all()
print("found")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux limits the private memory of a process")
def test_memory_does_not_grow_with_the_gallery(tmp_path):
    rng = np.random.default_rng(0)
    with (tmp_path / "rows").open("wb") as file:
        for _ in range(8):
            rng.standard_normal((10_000, 1024), np.float32).astype(np.float16).tofile(file)
    command = [sys.executable, "-W", "ignore", "-c", MEMORY, str(tmp_path / "rows")]
    ask = partial(subprocess.run, capture_output=True, text=True, timeout=300, check=False)
    done = ask([*command, "blocks"])
    assert done.stdout == "found\n", done.stderr
    refused = ask([*command, "whole"])
    assert refused.returncode != 0
    assert "allocate memory" in refused.stderr


TOGETHER = """
import os, sys, threading
sys.path.insert(0, os.getcwd())
first, second = sys.argv[1:]
__import__(first); __import__(second)
import faiss, torch
from mlcore.correspondence.search import index_of
torch.set_num_threads(2); faiss.omp_set_num_threads(2)
rows = torch.rand(3000, 64)
found = index_of("exact", rows).search(rows[:200], 5)[0]
def both():
    for _ in range(3):
        torch.rand(400, 400) @ torch.rand(400, 400)
        for kind in ("flat", "hnsw", "ivf"):
            other = index_of(kind, rows).search(rows[:200], 5)[0]
            assert kind != "flat" or torch.equal(other, found), kind
        torch.nn.functional.conv2d(torch.rand(2, 3, 64, 64), torch.rand(8, 3, 3, 3))
both()
threads = [threading.Thread(target=both) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done", torch.get_num_threads())
"""


@needs_faiss
@pytest.mark.parametrize("order", [("faiss", "torch"), ("torch", "faiss")])
def test_faiss_and_pytorch_share_a_process(order):
    done = subprocess.run(
        [sys.executable, "-c", TOGETHER, *order], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "done 2\n", done.stderr
    assert "OMP" not in done.stderr
