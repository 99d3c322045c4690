"""Photographs of birds by a classifier trained on other birds: leave-one-out nearest neighbours."""

import csv

import pytest
import torch

from mlcore.correspondence.features import describe, last_spatial_layer
from mlcore.correspondence.search import index_of
from mlcore.correspondence.store import update
from mlcore.correspondence.vote import vote
from mlcore.training.classifiers import build
from mlcore.training.data import to_input
from mlcore.training.job import Item
from mlcore.training.pictures import Geometry, load_frame


@pytest.mark.slow
def test_the_nearest_neighbour_names_73_of_100_species(test_data, tmp_path):
    """832 images of 195 species, about four each; whoever guesses the most frequent is right for 1 in 100."""
    with (test_data / "cub832" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    species = torch.tensor([int(row["label"]) for row in rows])
    weights = test_data / "weights" / "mobilenet_v2_inat_bird.npz"
    model = build("mobilenet_v2", 965, weights=weights, padding="tensorflow")
    layer, geometry = last_spatial_layer(model), Geometry(224)

    def cells(positions):
        paths = [test_data / "cub832" / "images" / rows[position]["file"] for position in positions]
        frames = [load_frame(Item(id=path.name, path=str(path)), geometry).image for path in paths]
        return describe(model, layer, to_input(torch.stack([torch.from_numpy(frame) for frame in frames]), "imagenet"))

    items = [(row["file"], row["file"]) for row in rows]
    gallery = update(tmp_path, {"layer": layer}, items, cells)
    assert gallery.shape == (1280, 7, 7)
    own = torch.arange(len(gallery))
    neighbours, scores = index_of("exact", gallery.pooled_rows).search(gallery.pooled(), 20, exclude=own)
    said, _ = vote(species[neighbours], votes=1)
    accuracy = (said == species).float().mean().item()
    assert accuracy >= 0.73
    assert accuracy == pytest.approx(0.734, abs=0.004)
    # Twenty who vote where a species has four pictures outvote them.
    assert vote(species[neighbours])[0].eq(species).float().mean() < accuracy
    assert (scores.diff(dim=1) <= 0).all()
