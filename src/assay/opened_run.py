"""A run folder that was opened from Python: its figures, its predictions, what a notebook shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow

from assay.defaults import DEFAULT_MARGIN_POINTS
from assay.measure.accuracy.accuracy import Accuracy, ClassAccuracy
from assay.measure.accuracy.comparison import Flip
from assay.measure.gates import GateResult
from assay.report.named_run import NamedRun
from assay.report.notebook import WorstImages, render_run
from assay.runs.class_names import find_classes
from assay.runs.results_file import Benchmark, Manifest, Metrics, RunFiles, read_run_files
from assay.runs.stored import StoredRun
from assay.workflows.results.answers import read_answers
from assay.workflows.results.compare import compare_runs
from assay.workflows.results.gallery import collect_worst


@dataclass(frozen=True)
class Run:
    """A run folder, read when it is asked.

    Args:
        path: The folder.
    """

    path: Path

    @cached_property
    def files(self) -> RunFiles:
        """What its JSON files say, in whatever state the run is.

        Raises:
            BadInputError: The folder holds no run, or one of its files cannot be read.
        """
        return read_run_files(self.path)

    @property
    def manifest(self) -> Manifest:
        """`manifest.json`: what was run, on what, with what, and how it ended."""
        return self.files.manifest

    @property
    def metrics(self) -> Metrics | None:
        """`metrics.json`; None where accuracy was not measured."""
        return self.files.metrics

    @property
    def accuracy(self) -> Accuracy | None:
        """Counts, percentages and 95 % intervals; None where accuracy was not measured."""
        return self.metrics.accuracy if self.metrics else None

    @property
    def per_class(self) -> tuple[ClassAccuracy, ...]:
        """The accuracy of each class that has images; empty where accuracy was not measured."""
        return tuple(self.metrics.per_class) if self.metrics else ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the model's classes are called, by label; empty where nobody named them."""
        return find_classes(self.manifest).names

    @property
    def benchmark(self) -> Benchmark | None:
        """`benchmark.json`: images per second and latency; None where speed was not measured."""
        return self.files.benchmark

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """What each gate says of the run."""
        return tuple(self.manifest.gates)

    @property
    def predictions(self) -> pyarrow.Table:
        """One row for each image, in the order of the run; `.to_pandas()` where pandas is installed.

        The columns are those of docs/reference/run-folder.md, and `class`, `class_name`, `label_name`,
        `correct`, `probability` and `margin`, as docs/reference/python.md has them.

        Raises:
            UsageError: The run predicts no images, or not all of them are predicted.
        """
        return read_answers(StoredRun.open(self.path))

    def worst(self, count: int = 10) -> WorstImages:
        """The images that the run has wrong and is surest of, which Jupyter shows as pictures.

        Args:
            count: So many at most, from 1.

        Raises:
            UsageError: The run predicts no images, or not all of them are predicted.
        """
        return collect_worst(StoredRun.open(self.path), count)

    def _repr_html_(self) -> str:
        """What Jupyter shows: the verdict, and at most two charts."""
        files = self.files
        named = NamedRun(name="", manifest=files.manifest, metrics=files.metrics, benchmark=files.benchmark)
        return render_run(named)

    def flips(self, reference: Run | Path | str) -> tuple[Flip, ...]:
        """The images whose Top-1 is right in one of the two runs only: the lost ones first, then the won.

        Args:
            reference: The run that this one is compared with, over the same images.

        Raises:
            UsageError: One of the two has no finished predictions.
            BadInputError: They cannot be compared: no image in common, other labels, other classes.
        """
        found = compare_runs(find_folder(reference), self.path, DEFAULT_MARGIN_POINTS, ()).comparison
        return (*found.lost, *found.won)


def open_run(path: Path | str) -> Run:
    """The run in a folder, in whatever state it is.

    Raises:
        BadInputError: The folder holds no run, or one of its files cannot be read.
    """
    run = Run(Path(path))
    run.files  # noqa: B018 - a folder without a run is refused now, not at the first figure
    return run


def find_folder(run: Run | Path | str) -> Path:
    """The folder of a run that is opened already or named by its path."""
    return run.path if isinstance(run, Run) else Path(run)
