"""Galleries in the admin: the list, a page of one, its deletion, and the size before a run."""

import pytest
from django.urls import reverse

from mlcore.catalogue.gallery_lock import held
from mlcore.models import AuditEntry, FeatureGallery
from mlcore.runs import galleries
from tests.annotation.factories import researcher

pytestmark = pytest.mark.django_db
LIST, SIZE = "admin:mlcore_featuregallery_changelist", "admin:mlcore_featuregallery_size"
LAYERS = [
    {"name": "features.0", "type": "Conv2d", "channels": 16, "height": 32, "width": 32, "suggested": []},
    {"name": "features", "type": "Sequential", "channels": 64, "height": 4, "width": 4, "suggested": ["grad_cam"]},
]


@pytest.fixture
def gallery(world, classifier, rita) -> FeatureGallery:
    """Its row, and a folder with something in it: what the files say is for other tests."""
    row = galleries.row_for(galleries.plan(classifier, world.image_set), rita)
    galleries.note(row, shape=(64, 4, 4), images=3, nbytes=123_000)
    folder = galleries.folder_for(row)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(b"x" * 1500)
    return row


def flat(answer) -> str:
    return " ".join(answer.content.decode().split())


def test_the_list_and_a_page(client, gallery):
    page = flat(client.get(reverse(LIST)))
    assert "64 × 4 × 4" in page
    assert "123 kB" in page
    assert "32 px, none, imagenet" in page
    assert reverse(SIZE) in page
    assert reverse(LIST) in flat(client.get(reverse("admin:mlcore_classifier_changelist")))
    page = flat(client.get(reverse("admin:mlcore_featuregallery_change", args=[gallery.pk])))
    missing = gallery.image_set.images.count() - 3
    for text in ("features", "64 × 4 × 4", "123 kB", "32 px, none, imagenet", f"{missing} not yet", str(gallery.uuid)):
        assert text in page
    assert "Its files are not there" not in page
    (galleries.folder_for(gallery) / "manifest.json").unlink()
    assert "Its files are not there" in flat(
        client.get(reverse("admin:mlcore_featuregallery_change", args=[gallery.pk]))
    )


def test_a_gallery_is_deleted_after_a_question(client, gallery, rita):
    address = reverse("admin:mlcore_featuregallery_remove", args=[gallery.pk])
    assert "The features of 3 images of “scenes”" in flat(client.get(address))
    assert FeatureGallery.objects.exists()
    with held(galleries.folder_for(gallery)):
        answer = client.post(address)
        assert answer.status_code == 409
        assert "is being written" in flat(answer)
    assert FeatureGallery.objects.exists()
    answer = client.post(address, follow=True)
    assert "The gallery is deleted; 2 kB are free again." in flat(answer)
    assert not FeatureGallery.objects.exists()
    assert not galleries.folder_for(gallery).exists()
    assert AuditEntry.objects.get(action="gallery.delete").actor == rita


def test_the_size_is_known_before_a_run(client, world, classifier):
    empty = flat(client.get(reverse(SIZE)))
    assert "On the disk" not in empty
    asked = {"classifier": classifier.pk, "image_set": world.image_set.pk}
    unlisted = flat(client.get(reverse(SIZE), asked))
    assert "the size is known once the classifier&#x27;s layers are listed" in unlisted
    assert reverse("admin:mlcore_classifier_layers", args=[classifier.pk]) in unlisted
    classifier.layers = LAYERS
    classifier.save()
    images = world.image_set.images.count()
    answer = client.get(reverse(SIZE), asked)
    page = flat(answer)
    assert page.index('class="h-mono">features<') < page.index('class="h-mono">features.0<')
    for channels, cells in ((64, 16), (16, 1024)):
        size = images * (2 * channels * (cells + 1) + 120)
        assert f'data-value="{size}"' in page
    assert "64 × 4 × 4" in page
    start = reverse("admin:mlcore_run_start")
    assert f"{start}?kind=correspond&amp;classifier={classifier.pk}&amp;image_set={world.image_set.pk}" in page
    classifier.weights = ""
    classifier.save()
    assert "has no weights" in flat(client.get(reverse(SIZE), asked))


def test_galleries_of_others_are_not_seen(client, gallery, world, classifier):
    client.force_login(researcher(username="oscar"))
    for name in ("change", "remove"):
        assert client.get(reverse(f"admin:mlcore_featuregallery_{name}", args=[gallery.pk])).status_code == 404
    assert client.post(reverse("admin:mlcore_featuregallery_remove", args=[gallery.pk])).status_code == 404
    assert FeatureGallery.objects.exists()
    assert str(gallery.layer) not in flat(client.get(reverse(LIST))).split("<tbody")[-1]
    asked = {"classifier": classifier.pk, "image_set": world.image_set.pk}
    page = flat(client.get(reverse(SIZE), asked))
    assert "Select a valid choice" in page
    assert str(classifier) not in page
    client.logout()
    assert client.get(reverse(SIZE)).status_code == 302
