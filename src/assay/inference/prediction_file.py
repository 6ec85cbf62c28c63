"""Predictions as a table for people and programs, a row for each image: CSV, JSON Lines or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec
import pyarrow
import pyarrow.parquet as pq

from assay.errors import UsageError
from assay.images.classes import Classes
from assay.inference.predictions import NO_LABEL, Prediction

OK = "ok"
BACKGROUND = "background"
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_DIGITS = 6  # of a probability; of float32 logits there are hardly more
_RANKED = pyarrow.struct(
    [("class", pyarrow.int32()), ("name", pyarrow.string()), ("probability", pyarrow.float64())]
)
_SCHEMA = pyarrow.schema(
    [
        ("path", pyarrow.string()),
        ("status", pyarrow.string()),
        ("class", pyarrow.int32()),
        ("name", pyarrow.string()),
        ("probability", pyarrow.float64()),
        ("top5", pyarrow.list_(_RANKED)),
    ]
)
Row = Mapping[str, object]
WriteRows = Callable[[Sequence[Row]], None]


def make_row(
    prediction: Prediction, classes: Classes, label_offset: int, probabilities: Sequence[float | None]
) -> Row:
    """What is said of one image; nothing but path and status of one that failed.

    Args:
        prediction: Of the image.
        classes: The model's classes.
        label_offset: The network's output that is class 0.
        probabilities: Of its likeliest classes, 0 to 1; None where the scores tell none.
    """
    top5: list[Row] = [
        {"class": label, "name": _name_class(classes, label), "probability": _round(probability)}
        for label, probability in zip(
            (number - label_offset for number in prediction.top_classes), probabilities, strict=True
        )
    ]
    first: Row = top5[0] if top5 else dict.fromkeys(("class", "name", "probability"))
    status = OK if prediction.status == NO_LABEL else prediction.status
    return {"path": prediction.relative_path, "status": status, **first, "top5": top5}


def _name_class(classes: Classes, label: int) -> str | None:
    """The name of a class, else its synset; None where it has neither."""
    if label < 0:
        return BACKGROUND
    names = classes.names or classes.synsets
    return names[label] if names else None


def _round(probability: float | None) -> float | None:
    return None if probability is None else float(f"{probability:.{_DIGITS}g}")


@contextmanager
def _open_csv(path: Path) -> Iterator[WriteRows]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _SCHEMA.names, lineterminator="\n")
        writer.writeheader()

        def write(rows: Sequence[Row]) -> None:
            writer.writerows(map(_make_cells, rows))

        yield write


def _make_cells(row: Row) -> Row:
    """A row as cells, none of which a spreadsheet takes for a formula; a list is no cell, but JSON.

    A path that begins as a formula does has `./` before it, and leads to the same file; a name an apostrophe.
    """
    path, name = f"{row['path']}", f"{row['name'] or ''}"
    return {
        **row,
        "path": f"./{path}" if path.startswith(_FORMULAS) else path,
        "name": f"'{name}" if name.startswith(_FORMULAS) else name,
        "top5": msgspec.json.encode(row["top5"]).decode(),
    }


@contextmanager
def _open_json_lines(path: Path) -> Iterator[WriteRows]:
    with path.open("wb") as file:

        def write(rows: Sequence[Row]) -> None:
            file.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))

        yield write


@contextmanager
def _open_parquet(path: Path) -> Iterator[WriteRows]:
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:

        def write(rows: Sequence[Row]) -> None:
            columns = [[row[name] for row in rows] for name in _SCHEMA.names]
            writer.write_table(pyarrow.table(columns, schema=_SCHEMA))

        yield write


_WRITERS: Mapping[str, Callable[[Path], AbstractContextManager[WriteRows]]] = {
    ".csv": _open_csv,
    ".jsonl": _open_json_lines,
    ".ndjson": _open_json_lines,
    ".parquet": _open_parquet,
}


def check_suffix(path: Path) -> None:
    """Refuse a name that does not say one of the forms.

    Raises:
        UsageError: So it is.
    """
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(
            f"-o {path}: expected a name that ends in {', '.join(_WRITERS)}",
            hint="the suffix says the form: CSV, JSON Lines or Parquet",
        )


def write_rows(path: Path, suffix: str, blocks: Iterable[Sequence[Row]]) -> None:
    """Write the rows into a file; memory holds one block of them.

    Args:
        path: The file to write.
        suffix: Which form, such as `.csv`.
        blocks: The rows, in blocks.
    """
    with _WRITERS[suffix.lower()](path) as write:
        for block in blocks:
            write(block)
