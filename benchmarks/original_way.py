"""The steps of the original scripts, written plainly: every image to a `.bin` file, texts, scores.

`original_way` and `turns` are what the other benchmarks compare with and measure by.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from assay.arrays import Images
from assay.engines.engine import Session

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def write_bins(sources: Sequence[Path], folder: Path) -> list[Path]:
    """Preprocess every image into a file, one after the other on one thread."""
    folder.mkdir(exist_ok=True)
    return [_write_bin(source, folder / f"{source.stem}.bin") for source in sources]


def _write_bin(source: Path, target: Path) -> Path:
    picture = Image.open(source).convert("RGB")
    short = min(picture.size)
    size = (int(256 * picture.width / short), int(256 * picture.height / short))
    pixels = np.array(picture.resize(size, Image.Resampling.BILINEAR), dtype=np.float32)  # (H, W, 3)
    left, top = int((pixels.shape[1] - 224) / 2), int((pixels.shape[0] - 224) / 2)
    pixels = pixels[top : top + 224, left : left + 224]  # (224, 224, 3)
    pixels /= 255.0
    pixels -= MEAN
    pixels /= STD
    pixels.transpose(2, 0, 1).tofile(target)  # (3, 224, 224)
    return target


def infer_to_texts(session: Session, bins: Sequence[Path], batch_size: int, folder: Path) -> None:
    """Run the files in batches, one batch after the other, and write each image's logits as text."""
    folder.mkdir(exist_ok=True)
    for start in range(0, len(bins), batch_size):
        batch = bins[start : start + batch_size]
        images: Images = np.stack([np.fromfile(path, np.float32).reshape(3, 224, 224) for path in batch])
        for path, row in zip(batch, session.run(images), strict=True):
            text = " ".join(map(str, row.tolist()))
            (folder / f"{path.stem}_0.txt").write_text(text, encoding="ascii")


def score_texts(folder: Path, labels: dict[str, int]) -> tuple[int, int]:
    """Return the Top-1 and Top-5 hits, read back from the texts."""
    top1 = top5 = 0
    for path in sorted(folder.iterdir()):
        values = [float(value) for value in path.read_text(encoding="ascii").split()]
        order = np.argsort(-np.array(values))
        label = labels[path.stem.removesuffix("_0")]
        top1 += int(order[0] == label)
        top5 += int(label in order[:5])
    return top1, top5
