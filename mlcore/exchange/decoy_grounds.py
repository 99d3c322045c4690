"""The textured grounds on which decoy scenes stand: clouds, wood, cloth, terrazzo, waves."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image


def colour(hue: float, chroma: float, lightness: float) -> np.ndarray:
    """An sRGB colour in [0,1] from OKLCH: hue in degrees, lightness and chroma as in CSS oklch().

    A perceptual space, so that colours drawn at random look equally strong. Outside sRGB it is clipped.
    Source: Ottosson, "A perceptual color space for image processing" (2020).
    """
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.array(
        [
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
        ]
    )
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def smooth_noise(rng: np.random.Generator, size: int, cells: tuple[int, int]) -> np.ndarray:
    """Noise in [0,1], (size,size), that varies over `cells` = (rows, columns) random values."""
    values = rng.random(cells, dtype=np.float32)
    large = Image.fromarray(values).resize((size, size), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(large, dtype=np.float64), 0, 1)


def ground(rng: np.random.Generator, size: int, base: np.ndarray) -> np.ndarray:
    """A textured ground around the colour `base`: float64 (size,size,3) in [0,1]."""
    texture = _TEXTURES[int(rng.integers(len(_TEXTURES)))](rng, size)
    ends = base * rng.uniform(0.68, 0.85), np.clip(base * rng.uniform(1.08, 1.2), 0, 1)
    picture = ends[0] + (ends[1] - ends[0]) * texture[..., None]
    picture += 0.012 * rng.standard_normal((size, size, 1))
    return np.clip(picture, 0, 1)


def _clouds(rng: np.random.Generator, size: int) -> np.ndarray:
    octaves = [smooth_noise(rng, size, (n, n)) for n in (4, 8, 16, 32)]
    return _stretch(sum(noise / 2**i for i, noise in enumerate(octaves)))


def _wood(rng: np.random.Generator, size: int) -> np.ndarray:
    rings = smooth_noise(rng, size, (7, 2)) * 9 + smooth_noise(rng, size, (24, 3))
    fibre = smooth_noise(rng, size, (size // 2, 4))
    return _turned(rng, _stretch(0.5 + 0.3 * np.sin(rings * math.pi) + 0.4 * (fibre - 0.5)))


def _cloth(rng: np.random.Generator, size: int) -> np.ndarray:
    warp = np.sin(np.arange(size) * 2 * math.pi / rng.uniform(3.2, 5.5))
    weave = 0.5 + 0.2 * warp[:, None] * warp[None, :]
    thread = smooth_noise(rng, size, (size // 2, 3)) + smooth_noise(rng, size, (3, size // 2))
    return np.clip(weave + 0.45 * (thread - 1) + 0.3 * (smooth_noise(rng, size, (3, 3)) - 0.5), 0, 1)


def _terrazzo(rng: np.random.Generator, size: int) -> np.ndarray:
    chips = smooth_noise(rng, size, (size // 6, size // 6))
    fine = smooth_noise(rng, size, (size // 3, size // 3))
    steps = 1 / (1 + np.exp(-(chips - 0.62) * 40)) - 0.8 / (1 + np.exp(-(0.3 - chips) * 40))
    return np.clip(0.5 + 0.4 * steps + 0.15 * (fine - 0.5), 0, 1)


def _waves(rng: np.random.Generator, size: int) -> np.ndarray:
    ys, xs = np.mgrid[0:size, 0:size] / size
    angle, frequency = rng.uniform(0, math.pi), rng.uniform(3, 6.5)
    phase = (xs * math.cos(angle) + ys * math.sin(angle)) * frequency
    bend = smooth_noise(rng, size, (4, 4)) * 1.6
    return np.clip(0.5 + 0.4 * np.sin((phase + bend) * 2 * math.pi), 0, 1)


def _turned(rng: np.random.Generator, texture: np.ndarray) -> np.ndarray:
    return texture.T if rng.random() < 0.5 else texture


def _stretch(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return (values - low) / (high - low + 1e-9)


_TEXTURES = (_clouds, _wood, _cloth, _terrazzo, _waves)
