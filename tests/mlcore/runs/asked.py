"""A classifier with real weights and a picture to ask it about, and a server of the test's own."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.files.uploadedfile import SimpleUploadedFile

from mlcore.models import Classifier
from mlcore.runs import inquiry_server
from tests.mlcore.runs.world import World, make_classifier

WEIGHTS: list[bytes] = []


def weights() -> bytes:
    """A small network as it is drawn from seed 4."""
    if not WEIGHTS:
        import torch
        from safetensors.torch import save

        from mlcore.training.classifiers import build

        torch.manual_seed(4)
        state = {name: value.contiguous() for name, value in build("sixconv", 2).state_dict().items()}
        WEIGHTS.append(save(state))
    return WEIGHTS[0]


def asked_classifier(world: World, owner=None) -> Classifier:
    made = make_classifier(world, weights=weights())
    if owner is not None:
        Classifier.objects.filter(pk=made.pk).update(owner=owner)
    return Classifier.objects.get(pk=made.pk)


def upload(image, name: str = "mine.png") -> SimpleUploadedFile:
    """An image of the world as a person sends it."""
    with image.file.open("rb") as stream:
        return SimpleUploadedFile(name, io.BytesIO(stream.read()).getvalue(), content_type="image/png")


@contextmanager
def own_server() -> Iterator[inquiry_server.Server]:
    """The worker's server, fresh, and ended afterwards."""
    inquiry_server.end_server()
    try:
        yield inquiry_server.server()
    finally:
        inquiry_server.end_server()
