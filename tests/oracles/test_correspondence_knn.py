"""Our neighbours and votes beside scikit-learn's."""

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from mlcore.correspondence.search import index_of
from mlcore.correspondence.vote import vote


def world(count: int = 900, channels: int = 48):
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(30, channels, generator=generator)
    labels = torch.randint(30, (count,), generator=generator)
    pooled = (centres[labels] + 0.4 * torch.randn(count, channels, generator=generator)).relu().half()
    return pooled, labels


def test_neighbours_and_their_cosines():
    pooled, _ = world()
    gallery, queries = pooled[:800], pooled[800:].float()
    rows, scores = index_of("exact", gallery).search(queries, 50)
    oracle = NearestNeighbors(n_neighbors=50, metric="cosine", algorithm="brute").fit(gallery.double().numpy())
    distances, wanted = oracle.kneighbors(queries.double().numpy())
    np.testing.assert_allclose(scores.numpy(), 1 - distances, atol=1e-6)
    assert (rows.numpy() == wanted).mean() > 0.999  # cosines that differ after the seventh digit may change places


def test_leave_one_out():
    pooled, labels = world()
    rows, _ = index_of("exact", pooled).search(pooled.float(), 5, exclude=torch.arange(len(pooled)))
    oracle = NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute").fit(pooled.double().numpy())
    wanted = oracle.kneighbors(return_distance=False)  # without the row itself
    assert (rows.numpy() == wanted).mean() > 0.999
    assert labels[rows].shape == wanted.shape


def test_votes_with_ties_to_the_lowest_class():
    pooled, labels = world()
    gallery, queries = pooled[:800], pooled[800:].float()
    rows, _ = index_of("exact", gallery).search(queries, 20)
    said, sure = vote(labels[rows], ties="lowest")
    oracle = KNeighborsClassifier(n_neighbors=20, metric="cosine", algorithm="brute")
    oracle.fit(gallery.double().numpy(), labels[:800].numpy())
    assert (said.numpy() == oracle.predict(queries.double().numpy())).all()
    np.testing.assert_allclose(sure.numpy(), oracle.predict_proba(queries.double().numpy()).max(axis=1), atol=1e-6)
