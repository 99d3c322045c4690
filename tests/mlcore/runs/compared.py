"""Features of an image set as a run leaves them, computed in the test's own process; and a correspondence network."""

import tempfile
from pathlib import Path

from mlcore.models import Classifier, CorrespondenceNetwork, FeatureGallery, Image, ImageSet
from mlcore.runs.correspond_features import folder_of, key_of, layer_of, row_of


def pixels(image: Image, size: int | None = None):
    """(1, 3, S, S), by hand. size: squashed to it; by default the picture is as large as the classifier's input."""
    import numpy as np
    import torch
    from PIL import Image as Pictures

    with image.file.open("rb") as stream, Pictures.open(stream) as opened:
        picture = opened.convert("RGB")
        picture = picture if size is None else picture.resize((size, size), Pictures.Resampling.BILINEAR)
        values = (np.asarray(picture) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return torch.from_numpy(values.transpose(2, 0, 1)[None].astype(np.float32))


def model_of(classifier: Classifier):
    from mlcore.training.classifiers import build

    count = len(classifier.classes)
    return build(classifier.architecture, count, weights=classifier.weights.path).eval()


def make_gallery(classifier: Classifier, image_set: ImageSet, layer: str = "", images=None) -> FeatureGallery:
    """The row and the files. images: those that are described; all of the set."""
    import torch

    from mlcore.correspondence.features import describe
    from mlcore.correspondence.store import update

    layer = layer_of(classifier, layer)
    row = row_of(classifier, image_set, layer, classifier.transform, classifier.owner)
    listed = list(Image.objects.filter(image_set=image_set).order_by("pk") if images is None else images)
    model = model_of(classifier)
    size = classifier.transform["image_size"] if classifier.transform["resize"] == "squash" else None
    key = key_of(classifier, image_set, layer, classifier.transform)
    made = update(
        folder_of(key),
        key,
        [(str(image.uuid), image.sha256) for image in listed],
        lambda places: describe(model, layer, torch.cat([pixels(listed[place], size) for place in places])),
    )
    row.channels, row.height, row.width = made.shape
    row.images, row.bytes = len(made), made.nbytes
    row.save()
    return row


def make_network(classifier: Classifier, layer: str) -> CorrespondenceNetwork:
    """As it is drawn from seed 5: nothing was trained."""
    import torch

    from mlcore.correspondence.chm.network import CHMNetwork

    torch.manual_seed(5)
    made = CHMNetwork.for_model(model_of(classifier), layer, width=8, side=5, size=32)
    row = CorrespondenceNetwork(name="warped", classifier=classifier, layer=layer, settings=made.settings, sha256="1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        made.save(path)
        with path.open("rb") as stream:
            row.weights.save("network.safetensors", stream, save=True)
    return row
