"""Files that say nothing but what they show: metadata taken out, lengths made equal, no pixel touched."""

import struct
import zlib

BLOCK = 4096
_END = 12  # bytes of PNG's last chunk
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"iCCP"}
# Application segments that decide colours: JFIF, ICC profile, Adobe's transform.
_JPEG_KEPT = {0xE0, 0xE2, 0xEE}


def padded(pngs: list[bytes]) -> list[bytes]:
    """The same PNGs, all of one length: a private, ancillary chunk that decoders skip stands before the end.

    The length is a multiple of 4,096, so that it does not give the content away between trials either.
    """
    longest = max(map(len, pngs)) + 12
    whole = -(-longest // BLOCK) * BLOCK
    filled = []
    for png in pngs:
        body = b"paDd" + bytes(whole - len(png) - 12)
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        filled.append(png[:-_END] + chunk + png[-_END:])
    return filled


def bare_png(data: bytes) -> bytes:
    """A PNG with the chunks that make its pixels and colours, and no others (texts, times, EXIF)."""
    kept = [data[:8]]
    at = 8
    while at + _END <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + _END + length
        if data[at + 4 : at + 8] in _PNG_KEPT:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def bare_jpeg(data: bytes) -> bytes:
    """A JPEG without comments, EXIF, XMP and makers' notes; a file with an unexpected build is returned as it is."""
    kept = [data[:2]]
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return data
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xDA:  # the picture itself
            return b"".join([*kept, data[at:]])
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        told = 0xE0 <= marker <= 0xEF and marker not in _JPEG_KEPT
        if not told and marker != 0xFE:
            kept.append(data[at:end])
        at = end
    return data
