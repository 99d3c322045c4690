"""Images and what is known about them: labels, boxes and masks, each with the source that said so."""

from django.conf import settings
from django.db import models

from mlcore.models.base import NamedManager, UUIDModel

LABEL_SOURCE = "import"  # who says what came with the images: the source that runs and studies read


def image_path(instance: "Image", filename: str) -> str:
    """Files are kept under their hash, so the same picture is stored once a set."""
    suffix = filename.rsplit(".", 1)[-1].lower()
    return f"images/{instance.image_set.uuid}/{instance.sha256[:2]}/{instance.sha256}.{suffix}"


def mask_path(instance: "Mask", filename: str) -> str:
    return f"masks/{instance.image.image_set.uuid}/{instance.sha256[:2]}/{instance.sha256}.png"


class ImageSet(UUIDModel):
    """A set of images with an ordered list of class names; a label is an index into that list."""

    name = models.CharField(max_length=120)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="image_sets"
    )
    classes = models.JSONField(default=list, help_text="Class names in order; a label is an index into this list.")
    description = models.TextField(blank=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created"]
        constraints = [models.UniqueConstraint(fields=["name"], name="image_set_name_unique")]

    def __str__(self) -> str:
        return self.name


class Image(UUIDModel):
    """One picture, known by the SHA-256 of its file: importing it again adds nothing."""

    image_set = models.ForeignKey(ImageSet, on_delete=models.CASCADE, related_name="images")
    name = models.CharField(max_length=400, help_text="The file's path below the folder that was imported.")
    file = models.FileField(upload_to=image_path, max_length=300)
    sha256 = models.CharField(max_length=64)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["image_set", "sha256"], name="image_unique_in_its_set"),
            models.UniqueConstraint(fields=["image_set", "name"], name="image_name_unique_in_its_set"),
            models.CheckConstraint(condition=models.Q(width__gt=0, height__gt=0), name="image_has_a_size"),
        ]

    def __str__(self) -> str:
        return self.name


class ImageLabel(models.Model):
    """What a source says the image shows. Several per image: multi-label sets, several annotators."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="labels")
    index = models.PositiveIntegerField(help_text="Index into the set's list of classes.")
    source = models.CharField(max_length=40, default=LABEL_SOURCE)

    natural_columns = ("image__uuid", "source", "index")
    objects = NamedManager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "source", "index"], name="label_said_once_a_source")]

    def __str__(self) -> str:
        return f"{self.image_id}: {self.index} ({self.source})"

    def natural_key(self) -> tuple[str, str, int]:
        return (str(self.image.uuid), self.source, self.index)


class Box(models.Model):
    """An object's box in pixels of the stored image, x0 ≤ x < x1."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="boxes")
    x0 = models.FloatField()
    y0 = models.FloatField()
    x1 = models.FloatField()
    y1 = models.FloatField()
    category = models.PositiveIntegerField(null=True, blank=True, help_text="Class index; empty: the image's label.")
    source = models.CharField(max_length=40, default=LABEL_SOURCE)
    difficult = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(x1__gt=models.F("x0"), y1__gt=models.F("y0")), name="box_has_an_area"
            ),
            # Two conditional constraints each: SQLite has no NULLS NOT DISTINCT.
            models.UniqueConstraint(
                fields=["image", "source", "category", "x0", "y0", "x1", "y1"],
                condition=models.Q(category__isnull=False),
                name="box_said_once_a_category",
            ),
            models.UniqueConstraint(
                fields=["image", "source", "x0", "y0", "x1", "y1"],
                condition=models.Q(category__isnull=True),
                name="box_said_once_a_source",
            ),
        ]

    def __str__(self) -> str:
        return f"({self.x0}, {self.y0}, {self.x1}, {self.y1})"


class Mask(models.Model):
    """An object's mask: a PNG of exactly the image's size, white where the object is."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="masks")
    file = models.FileField(upload_to=mask_path, max_length=300)
    sha256 = models.CharField(max_length=64)
    category = models.PositiveIntegerField(null=True, blank=True)
    source = models.CharField(max_length=40, default=LABEL_SOURCE)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["image", "source", "category"],
                condition=models.Q(category__isnull=False),
                name="mask_said_once_a_category",
            ),
            models.UniqueConstraint(
                fields=["image", "source"],
                condition=models.Q(category__isnull=True),
                name="mask_said_once_a_source",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.image_id} ({self.source})"
