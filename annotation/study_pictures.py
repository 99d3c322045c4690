"""Pictures of a study's introduction: decoded, brought to a size that pages show, and written anew."""

import io
import re
import secrets
from typing import IO, Any

from django.core.files.base import ContentFile
from django.db import transaction
from PIL import Image, ImageOps

from annotation.errors import StudyRefused
from annotation.models import Study, StudyPicture
from mlcore.exchange.verify import READABLE, BadImage, open_picture
from mlcore.models import AuditEntry

MOST_BYTES = 10 * 1024 * 1024
MOST_PICTURES = 40
LONGEST_SIDE = 1600
_NAME = re.compile(r"[^a-z0-9]+")


@transaction.atomic
def add_picture(study: Study, actor: Any, upload: IO[bytes], name: str = "") -> StudyPicture:
    """Keep an uploaded picture under `name` (or its file's name, made plain); texts show it as `picture:name`.

    The file is decoded whole and encoded anew, so that nothing but pixels is kept: JPEG, or PNG where it is see-through
    or has few colours; at most 1600 px long. Raises StudyRefused with a sentence.
    """
    Study.objects.select_for_update().get(pk=study.pk)
    if study.pictures.count() >= MOST_PICTURES:
        raise StudyRefused(f"A study keeps at most {MOST_PICTURES} pictures. Delete one that no page shows.")
    data = upload.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise StudyRefused(f"The picture has more than {MOST_BYTES // 1024**2} MB. Save it smaller.")
    plain = plain_name(name or str(getattr(upload, "name", "") or ""))
    if study.pictures.filter(name=plain).exists():
        raise StudyRefused(f"This study already has a picture called “{plain}”. Give this one another name.")
    picture, encoded = _encode(data)
    made = StudyPicture(study=study, name=plain, width=picture.width, height=picture.height)
    made.file.save(plain, ContentFile(encoded), save=False)
    made.save()
    AuditEntry.write(actor, "study.add_picture", study, after={"picture": plain})
    return made


@transaction.atomic
def remove_picture(picture: StudyPicture, actor: Any) -> None:
    """Delete a picture that no text of the study's newest version shows. Raises StudyRefused where one does."""
    study = picture.study
    if shown_in_texts(study, picture.name):
        raise StudyRefused(f"A text of the study shows “{picture.name}”. Take it out of the text first.")
    name, storage = str(picture.file.name), picture.file.storage
    picture.delete()
    AuditEntry.write(actor, "study.remove_picture", study, before={"picture": picture.name})
    if not StudyPicture.objects.filter(file=name).exists():  # a copy of the study may show the same file
        transaction.on_commit(lambda: storage.delete(name))


def shown_in_texts(study: Study, name: str) -> bool:
    """Whether any text of the newest version names the picture."""
    if not study.versions.exists():
        return False
    version = study.version
    pattern = re.compile(rf"\(\s*<?picture:{re.escape(name)}[\s>)\"']")
    return any(pattern.search(text) for text in _texts([version.consent, version.plan, version.translations]))


def plain_name(name: str) -> str:
    """A name as texts write it: small letters, digits and hyphens; without the file's ending."""
    stem = name.rsplit("/", 1)[-1].rsplit("\\", 1)[-1]
    stem = stem.rsplit(".", 1)[0] if "." in stem[1:] else stem
    return _NAME.sub("-", stem.lower()).strip("-")[:60].strip("-") or f"picture-{secrets.token_hex(2)}"


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def _encode(data: bytes) -> tuple[Image.Image, bytes]:
    try:
        picture = open_picture(data)
        picture = ImageOps.exif_transpose(picture)
    except BadImage as error:
        raise StudyRefused(str(error)) from error
    except Exception as error:  # a forged EXIF block
        raise StudyRefused(f"The file is not a picture that can be read ({READABLE}).") from error
    few = picture.mode in ("1", "P", "PA")
    clear = "A" in picture.getbands() or "transparency" in picture.info
    plain = picture.convert("RGBA" if clear else "RGB")
    plain.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    bare = Image.frombytes(plain.mode, plain.size, plain.tobytes())  # no times, places or profiles come along
    stream = io.BytesIO()
    if clear or few:
        bare.save(stream, "PNG", optimize=True)
    else:
        bare.save(stream, "JPEG", quality=90, optimize=True)
    return bare, stream.getvalue()
