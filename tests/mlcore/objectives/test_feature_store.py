"""Features that are kept: what comes out, what does not fit, and what is refused."""

import pytest
import torch
from torch import nn

from mlcore.objectives.feature_store import FeatureStore


def found(seed: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, generator=chance), [torch.randn(2, 4, 5, 5, generator=chance)]


def test_what_is_kept_comes_out_bit_by_bit() -> None:
    store, model = FeatureStore(), nn.Identity()
    assert store.read(model, ["a", "b"]) is None
    logits, features = found(0)
    store.keep(model, ["a", "b"], logits, features)
    store.keep(model, ["c", "d"], *found(1))
    read = store.read(model, ["a", "b"])
    assert read is not None
    assert torch.equal(read[0], logits)
    assert torch.equal(read[1][0], features[0])
    assert store.read(model, ["b", "a"]) is None  # another batch
    assert store.nbytes == 2 * 4 * (2 * 3 + 2 * 4 * 25)
    assert (len(store), store.reads) == (2, 1)


def test_half_precision_takes_half_the_bytes_of_the_features() -> None:
    store, model = FeatureStore(half=True), nn.Identity()
    logits, features = found(0)
    store.keep(model, ["a", "b"], logits, features)
    assert store.nbytes == 4 * 2 * 3 + 2 * 2 * 4 * 25
    read = store.read(model, ["a", "b"])
    assert read is not None
    assert torch.equal(read[0], logits)
    assert read[1][0].dtype == torch.float32
    torch.testing.assert_close(read[1][0], features[0], rtol=2**-8, atol=0)


def test_what_does_not_fit_is_not_kept() -> None:
    store, model = FeatureStore(2_000), nn.Identity()
    for number in range(3):  # 824 bytes each
        store.keep(model, [f"{number}a", f"{number}b"], *found(number))
    assert (len(store), store.nbytes) == (2, 1_648)
    assert store.read(model, ["0a", "0b"]) is not None
    assert store.read(model, ["2a", "2b"]) is None


def test_what_cannot_be_told_apart_is_refused() -> None:
    store, model, other = FeatureStore(), nn.Identity(), nn.Identity()
    for names in ([], ["a"], ["a", "a"]):
        with pytest.raises(ValueError, match="needs one of its own"):
            store.keep(model, names, *found(0))
    store.keep(model, ["a", "b"], *found(0))
    with pytest.raises(ValueError, match="another classifier's"):
        store.read(other, ["a", "b"])
