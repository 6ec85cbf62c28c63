"""Labelled pictures drawn on the spot: 20 classes of figures on textures, as JPEGs of many kinds.

H and W are a picture's height and width; places and lengths are in its short sides, from its centre.
"""

from __future__ import annotations

import colorsys
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from assay.arrays import Pixels
from assay.errors import BadImagesError
from assay.files import write_file

LABEL_STEP = 50  # the classes are spread over ImageNet's 1000, so that a label off by one is a miss
FIRST_LABEL = 25  # not 0, which is also what an output of zeros would name
SHORT_SIDES = (170.0, 680.0)  # pixels; on both sides of the 256 that pictures are resized to
LARGEST_ASPECT = 2.5
LARGEST_CANVAS_SIDE = 288  # short side that is drawn on; larger pictures are enlarged from it
GREYSCALE_SHARE = 0.05
PROGRESSIVE_SHARE = 0.1
QUALITIES = (70, 95)
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0", "4:2:0")  # 4:2:0 is the usual one
HUE_SPREAD = 0.04  # standard deviation, so that neighbouring hues overlap
GRAIN = (4.0, 24.0)  # standard deviation of the noise on every value, of 255
CLUTTER_COUNTS = (3, 8)
CLUTTER_RADII = (0.03, 0.1)
FIGURE_RADII = (0.2, 0.34)
PLACE_SPREAD = 0.06  # standard deviation of a figure's place
SATURATIONS = (0.55, 0.95)

Plane = npt.NDArray[np.float32]
Canvas = npt.NDArray[np.float32]  # (H, W, 3), RGB, 0 to 255
Corners = npt.NDArray[np.float64]  # (corners, 2): x and y
Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class DrawnClass:
    """What the pictures of one class have in common; hues are 0 to 1 round the colour circle."""

    figure: str  # key of FIGURES: what stands in the foreground
    hue: float
    texture: str  # the pattern behind it: stripes, checks, dots, ripples or clouds
    ground_hue: float
    place: Point  # of the figure's centre, to the right and down


DRAWN_CLASSES = (
    DrawnClass("disc", 0.00, "stripes", 0.55, (-0.10, -0.10)),
    DrawnClass("square", 0.60, "stripes", 0.12, (0.10, -0.10)),
    DrawnClass("triangle", 0.30, "stripes", 0.85, (0.00, 0.10)),
    DrawnClass("star", 0.15, "stripes", 0.70, (0.00, 0.00)),
    DrawnClass("disc", 0.50, "checks", 0.05, (0.10, 0.10)),
    DrawnClass("square", 0.10, "checks", 0.62, (-0.10, 0.10)),
    DrawnClass("triangle", 0.80, "checks", 0.35, (0.00, -0.10)),
    DrawnClass("star", 0.95, "checks", 0.20, (0.00, 0.00)),
    DrawnClass("disc", 0.15, "dots", 0.75, (-0.10, 0.10)),
    DrawnClass("square", 0.90, "dots", 0.45, (0.10, 0.10)),
    DrawnClass("triangle", 0.55, "dots", 0.00, (0.00, -0.10)),
    DrawnClass("star", 0.35, "dots", 0.12, (0.00, 0.10)),
    DrawnClass("disc", 0.75, "ripples", 0.25, (0.00, 0.00)),
    DrawnClass("square", 0.35, "ripples", 0.92, (-0.10, -0.10)),
    DrawnClass("triangle", 0.05, "ripples", 0.48, (0.10, 0.00)),
    DrawnClass("star", 0.60, "ripples", 0.08, (-0.10, 0.00)),
    DrawnClass("disc", 0.30, "clouds", 0.65, (0.10, -0.10)),
    DrawnClass("square", 0.00, "clouds", 0.30, (0.00, 0.10)),
    DrawnClass("triangle", 0.15, "clouds", 0.90, (-0.10, 0.00)),
    DrawnClass("star", 0.85, "clouds", 0.50, (0.10, 0.00)),
)
"""The classes, by class index; class k has the label `FIRST_LABEL + LABEL_STEP * k`."""

FIGURES = {"disc": (24, 1.0), "square": (4, math.sqrt(0.5)), "triangle": (3, 0.5), "star": (5, 0.4)}
"""Of every figure its outer corners, and how far out the points between them lie, outer corners being 1."""


def draw_labelled_images(folder: Path, labels_path: Path, *, image_count: int, seed: int) -> None:
    """Write the JPEGs `drawn_00000.JPEG`, ... into `folder`, and their labels, `NAME LABEL` a line.

    Of any 20 files from a multiple of 20 on, each shows another class. A seed gives the same bytes
    wherever numpy, Pillow and its JPEG library are the same, and the same first images for any count.
    The labels are written last: where that file is, the images are all there.

    Args:
        folder: Where the images go; made when it is not there.
        labels_path: The file of labels; the labels are from 25 to 975.
        image_count: Number of images, from 1 to 100,000.
        seed: 0 or more.

    Raises:
        BadImagesError: `image_count` is out of its range.
        OSError: A file cannot be written.
    """
    if not 1 <= image_count <= 100_000:
        raise BadImagesError(f"expected 1 to 100000 images to draw, found {image_count}")
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(image_count):
        round_index, place_in_round = divmod(index, len(DRAWN_CLASSES))
        order = np.random.default_rng([seed, 0, round_index]).permutation(len(DRAWN_CLASSES))
        class_index = int(order[place_in_round])
        rng = np.random.default_rng([seed, 1, index])
        name = f"drawn_{index:05d}.JPEG"
        (folder / name).write_bytes(encode_varied_jpeg(draw_picture(class_index, rng), rng))
        lines.append(f"{name} {FIRST_LABEL + LABEL_STEP * class_index}\n")
    write_file(labels_path, "".join(lines).encode())


def encode_varied_jpeg(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Encode the picture as a JPEG whose quality, subsampling and kind are drawn from `rng`.

    One in 20 has a single grey component, one in 10 is progressive.

    Args:
        pixels: uint8 (H, W, 3), RGB.
        rng: The source of the choices.
    """
    picture = Image.fromarray(pixels)
    quality = int(rng.integers(QUALITIES[0], QUALITIES[1], endpoint=True))
    subsampling = SUBSAMPLINGS[rng.integers(len(SUBSAMPLINGS))]
    progressive = bool(rng.random() < PROGRESSIVE_SHARE)
    if rng.random() < GREYSCALE_SHARE:
        picture = picture.convert("L")
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    return buffer.getvalue()


def draw_picture(class_index: int, rng: np.random.Generator) -> Pixels:
    """Draw a picture of that class, uint8 (H, W, 3), RGB; size, colours and clutter are from `rng`.

    The short side is 170 to 680 pixels, the long one up to 2.5 times as long.

    Args:
        class_index: Which of `DRAWN_CLASSES`, from 0.
        rng: The source of all that varies within a class.

    Raises:
        BadImagesError: There is no such class.
    """
    if not 0 <= class_index < len(DRAWN_CLASSES):
        raise BadImagesError(f"drawn class: expected 0 to {len(DRAWN_CLASSES) - 1}, found {class_index}")
    drawn = DRAWN_CLASSES[class_index]
    size = choose_size(rng)
    shrink = min(1.0, LARGEST_CANVAS_SIDE / min(size))
    width, height = (max(1, round(side * shrink)) for side in size)
    canvas = paint_ground(drawn, (height, width), rng)  # (h, w, 3)
    canvas = paint_figures(canvas, drawn, rng)
    canvas = light_canvas(canvas, rng)
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    return np.array(picture.resize(size, Image.Resampling.BILINEAR))  # (H, W, 3)


def choose_size(rng: np.random.Generator) -> tuple[int, int]:
    """Draw a picture's (width, height): short side and aspect ratio are uniform in their logarithm."""
    short_side = math.exp(rng.uniform(*np.log(SHORT_SIDES)))
    stretch = math.exp(abs(rng.normal(0, 0.4)))  # most pictures are nearer to 4:3 than to 5:2
    long_side = int(short_side * min(stretch, LARGEST_ASPECT))
    sides = (int(short_side), max(int(short_side), long_side))
    return sides if rng.random() < 0.4 else sides[::-1]  # more pictures lie than stand


def paint_ground(drawn: DrawnClass, shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
    """Draw the class's texture in two tones of its ground hue, (H, W, 3), 0 to 255."""
    height, width = shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (columns - width / 2) / min(shape), (rows - height / 2) / min(shape)
    pattern = weave_texture(drawn.texture, x, y, rng)[..., None]  # (H, W, 1)
    hue = rng.normal(drawn.ground_hue, HUE_SPREAD)
    bright = np.array(mix_colour(hue, rng, value=(0.7, 1.0)), dtype=np.float32)
    dark = np.array(mix_colour(hue, rng, value=(0.25, 0.45)), dtype=np.float32)
    return dark + (bright - dark) * pattern  # (H, W, 3)


def weave_texture(texture: str, x: Plane, y: Plane, rng: np.random.Generator) -> Plane:
    """Draw the pattern of that name, 0 to 1, (H, W), over the coordinates x and y."""
    turn = 2 * math.pi
    x, y = x + np.float32(rng.random()), y + np.float32(rng.random())
    match texture:
        case "stripes":
            angle, waves = rng.uniform(0.5, 1.1), rng.uniform(9, 14)
            pattern = np.sin(turn * waves * (x * math.cos(angle) + y * math.sin(angle))) / 2 + 0.5
        case "checks":
            fields = rng.uniform(5, 8)
            pattern = np.mod(np.floor(x * fields) + np.floor(y * fields), 2)
        case "dots":
            dots = rng.uniform(8, 12)
            pattern = np.cos(turn * dots * x) + np.cos(turn * dots * y) > 0.7
        case "ripples":
            pattern = np.cos(turn * rng.uniform(4, 7) * np.hypot(x - 0.5, y - 0.5)) / 2 + 0.5
        case _:
            pattern = spread_noise((6, 6), x.shape, rng) / 255
    return np.asarray(pattern, dtype=np.float32)


def spread_noise(grid: tuple[int, int], shape: tuple[int, ...], rng: np.random.Generator) -> Plane:
    """Draw smooth noise, 0 to 255, (H, W) as in `shape`, from random values on a coarse grid."""
    coarse = Image.fromarray(rng.integers(0, 256, grid, dtype=np.uint8))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), dtype=np.float32)


def paint_figures(canvas: Canvas, drawn: DrawnClass, rng: np.random.Generator) -> Canvas:
    """Draw on the canvas, (H, W, 3): small clutter of any kind and the class's figure over it."""
    picture = Image.fromarray(canvas.astype(np.uint8))
    names = sorted(FIGURES)
    for _ in range(rng.integers(*CLUTTER_COUNTS)):
        corners = turn_corners(names[rng.integers(len(names))], rng.uniform(*CLUTTER_RADII), rng)
        colour = mix_colour(rng.random(), rng, value=(0.1, 1.0))
        draw_polygon(picture, corners + rng.uniform(-0.5, 0.5, 2), colour)
    corners = turn_corners(drawn.figure, rng.uniform(*FIGURE_RADII), rng)
    colour = mix_colour(rng.normal(drawn.hue, HUE_SPREAD), rng, value=(0.6, 1.0))
    draw_polygon(picture, corners + drawn.place + rng.normal(0, PLACE_SPREAD, 2), colour)
    return np.asarray(picture, dtype=np.float32)  # (H, W, 3)


def turn_corners(figure: str, radius: float, rng: np.random.Generator) -> Corners:
    """Place the corners, (corners, 2), of a figure of that radius round (0, 0), turned anyhow."""
    count, inner = FIGURES[figure]
    angles = rng.uniform(0, 2 * math.pi) + np.arange(2 * count) * math.pi / count
    radii = radius * np.where(np.arange(2 * count) % 2, inner, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)  # (corners, 2)


def draw_polygon(picture: Image.Image, corners: Corners, colour: Colour) -> None:
    """Fill the polygon of these corners, (corners, 2), in the picture."""
    size = np.array(picture.size)
    points = corners * size.min() + size / 2  # (corners, 2)
    ImageDraw.Draw(picture).polygon([(x, y) for x, y in points.tolist()], fill=colour)


def mix_colour(hue: float, rng: np.random.Generator, *, value: tuple[float, float]) -> Colour:
    """Draw an RGB colour, 0 to 255, of that hue (taken modulo 1) and of a brightness within `value`."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, rng.uniform(*SATURATIONS), rng.uniform(*value))
    return round(255 * red), round(255 * green), round(255 * blue)


def light_canvas(canvas: Canvas, rng: np.random.Generator) -> Canvas:
    """Put the canvas, (H, W, 3), under uneven light and a grainy film."""
    light = 0.7 + 0.4 * spread_noise((2, 2), canvas.shape, rng)[..., None] / 255  # (H, W, 1)
    grain = rng.standard_normal(canvas.shape, dtype=np.float32) * rng.uniform(*GRAIN)  # (H, W, 3)
    return (canvas * light + grain).astype(np.float32)
