"""Forms about images: import a zip or a folder, make a partition."""

import tempfile
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError
from django.http import HttpRequest

from harmony.forms import ActionForm
from harmony.researcher import owned
from mlcore.exchange.images import import_folder
from mlcore.exchange.partitions import PartitionRefused, make_partition, partition_from_splits
from mlcore.exchange.report import ImportRefused, Problem
from mlcore.exchange.zips import unpack
from mlcore.models import ImageSet
from mlcore.models.partitions import Part


class ImportForm(ActionForm):
    """A folder on the server. Only administrators see it: it reads any folder that the server may read."""

    refusals = (ValueError, ImportRefused)

    name = forms.CharField(
        label="Name of the set", max_length=120, help_text="A set of this name that is yours is added to."
    )
    folder = forms.CharField(
        label="Folder on the server", widget=forms.TextInput(attrs={"class": "h-mono"}),
        help_text="A folder of images for each class, or a folder that the CSV's file names are below.",
    )  # fmt: skip
    labels = forms.CharField(
        label="CSV of labels", required=False, widget=forms.TextInput(attrs={"class": "h-mono"}),
        help_text="Columns file, label and, if parts are given, split. Empty: the folders are the classes.",
    )  # fmt: skip
    masks = forms.CharField(
        label="Folder of masks", required=False, widget=forms.TextInput(attrs={"class": "h-mono"}),
        help_text="A PNG of each image's own name and size, white where the object is.",
    )  # fmt: skip
    boxes = forms.CharField(
        label="CSV of boxes", required=False, widget=forms.TextInput(attrs={"class": "h-mono"}),
        help_text="Columns file, x0, y0, x1, y1 in pixels, x0 before x1.",
    )  # fmt: skip
    coco = forms.CharField(
        label="COCO JSON", required=False, widget=forms.TextInput(attrs={"class": "h-mono"}),
        help_text="A file of instances: labels, boxes and masks, instead of the CSV of labels.",
    )  # fmt: skip
    voc = forms.CharField(
        label="Folder of Pascal VOC XML", required=False, widget=forms.TextInput(attrs={"class": "h-mono"}),
        help_text="One file an image, as VOC and ImageNet write them: labels and boxes.",
    )  # fmt: skip
    names = forms.CharField(
        label="Names of its classes", required=False, widget=forms.TextInput(attrs={"class": "h-mono"}),
        help_text="Where COCO or VOC name classes by ids, such as n01440764: a file with an id and a name a line.",
    )  # fmt: skip
    parts = forms.BooleanField(
        label="Take over the parts", required=False, initial=True,
        help_text="Where the source says which image trains and which tests, make that partition, named “given”.",
    )  # fmt: skip

    def _path(self, name: str, folder: bool) -> Path | None:
        text = self.cleaned_data.get(name, "").strip()
        if not text:
            return None
        path = Path(text)
        if not (path.is_dir() if folder else path.is_file()):
            raise ValidationError(f"There is no {'folder' if folder else 'file'} “{text}” on the server.")
        return path

    def clean_folder(self) -> Path | None:
        return self._path("folder", True)

    def clean_masks(self) -> Path | None:
        return self._path("masks", True)

    def clean_labels(self) -> Path | None:
        return self._path("labels", False)

    def clean_boxes(self) -> Path | None:
        return self._path("boxes", False)

    def clean_coco(self) -> Path | None:
        return self._path("coco", False)

    def clean_voc(self) -> Path | None:
        return self._path("voc", True)

    def clean_names(self) -> Path | None:
        return self._path("names", False)


class ZipForm(ActionForm):
    """A zip of pictures from one's own machine; every researcher may send one."""

    refusals = (ValueError, ImportRefused)

    name = forms.CharField(
        label="Name of the set", max_length=120, help_text="A set of this name that is yours is added to."
    )
    zip = forms.FileField(
        help_text="A folder of images for each class; or all images and a labels.csv with the columns file and label. "
        "A folder “masks” beside them is taken as their masks."
    )
    coco = forms.FileField(
        label="COCO JSON", required=False,
        help_text="A file of instances for the images in the zip: labels, boxes and masks, instead of folders.",
    )  # fmt: skip


class PartitionForm(ActionForm):
    refusals = (ValueError, PartitionRefused)

    name = forms.CharField(max_length=120, help_text="For instance “four parts” or “10 a class”.")
    by = forms.ChoiceField(
        label="Sizes are",
        choices=(("fractions", "shares of each class, in percent"), ("counts", "images a class; one empty: the rest")),
    )
    train = forms.FloatField(label="Train", min_value=0, required=False, initial=50)
    annotation_pool = forms.FloatField(
        label="Annotation pool", min_value=0, required=False, initial=20, help_text="What people rate and draw."
    )
    validation = forms.FloatField(
        label="Validation", min_value=0, required=False, initial=15,
        help_text="Chooses the epoch; nobody rates or draws these.",
    )  # fmt: skip
    test = forms.FloatField(label="Test", min_value=0, required=False, initial=15, help_text="Looked at once.")
    seed = forms.IntegerField(min_value=0, initial=0, help_text="The same seed cuts the same parts.")

    def sizes(self) -> dict[str, float | None]:
        return {part: self.cleaned_data.get(part) for part in Part.values}


def import_form(request: HttpRequest) -> ImportForm:
    """The form over `import_folder`; where the source says the parts, the partition is made too."""

    def act(form: ActionForm) -> Any:
        given = form.cleaned_data
        report = import_folder(
            given["folder"],
            name=given["name"],
            owner=request.user,
            masks=given["masks"],
            boxes=given["boxes"],
            labels=given["labels"],
            coco=given["coco"],
            voc=given["voc"],
            names=given["names"],
        )
        if given["parts"] and report.splits:
            try:
                partition_from_splits(report.image_set, report.splits, "given", request.user)
            except (PartitionRefused, IntegrityError) as error:
                report.notes.append(Problem(f"The parts of the source were not taken over: {error}"))
        return report

    return ImportForm(request.POST if request.method == "POST" else None, action=act)


def zip_form(request: HttpRequest) -> ZipForm:
    """The form over `unpack` and `import_folder`."""

    def act(form: ActionForm) -> Any:
        with tempfile.TemporaryDirectory(dir=settings.VAR_DIR, prefix="upload-") as folder:
            pictures = Path(folder) / "pictures"
            pictures.mkdir()
            root = unpack(form.cleaned_data["zip"], pictures)
            masks = root / "masks"
            if masks.is_dir():
                # Beside the pictures, not among them: a folder below the root would be a class.
                masks = masks.rename(Path(folder) / "masks")
            coco = form.cleaned_data["coco"]
            return import_folder(
                root, name=_own_name(form.cleaned_data["name"], request.user), owner=request.user,
                masks=masks if masks.is_dir() else None, coco=_kept(coco, Path(folder) / "coco") if coco else None,
            )  # fmt: skip

    sent = request.method == "POST"
    return ZipForm(request.POST if sent else None, request.FILES if sent else None, action=act)


def _kept(upload: UploadedFile, folder: Path) -> Path:
    """A file that was sent, in a folder of its own under its own name, which sentences about it say."""
    folder.mkdir()
    path = folder / Path(upload.name or "instances.json").name
    with path.open("wb") as stream:
        for chunk in upload.chunks():
            stream.write(chunk)
    return path


def _own_name(name: str, user: Any) -> str:
    """Names are unique over everyone's sets, and one adds only to one's own. Raises ImportRefused."""
    if ImageSet.objects.filter(name=name).exists() and not owned(ImageSet.objects.filter(name=name), user).exists():
        raise ImportRefused(f"There is a set called “{name}” already, and it is someone else's. Choose another name.")
    return name


def partition_form(request: HttpRequest, image_set: ImageSet) -> PartitionForm:
    def act(form: ActionForm) -> Any:
        given = form.cleaned_data
        sizes = form.sizes()  # type: ignore[attr-defined]
        known = {part: value for part, value in sizes.items() if value is not None}
        if given["by"] == "fractions":
            wish: dict[str, Any] = {"fractions": {part: value / 100 for part, value in known.items()}}
        else:
            empty = [part for part, value in sizes.items() if value is None]
            wish = {"counts_per_class": known, "rest": empty[0] if len(empty) == 1 else None}
        return make_partition(image_set, given["name"], seed=given["seed"], owner=request.user, **wish)

    return PartitionForm(request.POST if request.method == "POST" else None, action=act)
