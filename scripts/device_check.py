"""What `device_check.sh` needs besides assay's commands: the demo's files, the streamed rate, the summary."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from assay.arrays import Batch, Logits
from assay.engines.catalog import find_engine, load_for_evaluation
from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import CompileChoice, Session, SessionDescription
from assay.images.classes import read_classes
from assay.images.label_files import LabelOptions
from assay.images.sources import index_images
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.shards import cut_shards
from assay.models.pixel_values import normalise_pixels
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord
from assay.processors import count_processors
from assay.runs.listener import SILENT
from assay.workflows.demo import MODEL, make_files
from assay.workflows.models.compile import compile_model

SHARD_SIZE = 1000
VARIANTS = {
    "eager": {"mode": "eager"},
    "compiled": {"mode": "compiled"},
    "fastest": {"algorithms": "fastest"},
    "streams": {"streams": "2"},
    "on_host": {"normalise": "on_host"},
    "contiguous": {"layout": "contiguous"},
}


class NoSession:
    """A session of no network, to see how fast the host alone is."""

    def __init__(self, like: Session, record: ModelRecord) -> None:
        self.concurrency = like.concurrency
        self._takes_pixels = like.description.takes_pixels
        self._class_count = record.output.class_count

    @property
    def description(self) -> SessionDescription:
        """What it takes."""
        return SessionDescription(runtime="none", device_name="none", takes_pixels=self._takes_pixels)

    def run(self, images: Batch) -> Logits:
        """Zeros."""
        return np.zeros((len(images), self._class_count), dtype=np.float32)

    def take_device_ms(self) -> tuple[float, ...]:
        """None."""
        return ()

    def close(self) -> None:
        """Nothing is held."""


def measure_stream(compiled_dir: Path, demo: Path, count: int, batch_size: int) -> dict[str, Any]:
    """Images per second from JPEG files to predictions: of the session, and of the host without it.

    The images are the demo's held-out ones again and again, under other names. Each is streamed twice; the
    first time warms up, and is not counted.
    """
    record = read_compiled_json(compiled_dir).model
    images = _link_images(demo, count)
    index = index_images(images, read_classes(record), LabelOptions(path=demo / "streamed.txt"))
    shards = cut_shards(index.images, SHARD_SIZE)
    options = PipelineOptions(batch_size=batch_size, reading=index.reading)
    with closing(load_for_evaluation(compiled_dir)) as session:
        rates = {}
        for name, measured in (("streamed", session), ("host", NoSession(session, record))):
            for part in (shards[:1], shards):
                session.take_device_ms()
                begin = time.perf_counter()
                done = sum(len(rows) for _, rows in predict_shards(measured, part, record, options, _ignore))
                rates[name] = done / (time.perf_counter() - begin)
            if name == "streamed":
                device_ms = sum(session.take_device_ms())
    busy = device_ms / 1000 * rates["streamed"] / done
    return {
        "images": done,
        "batch_size": batch_size,
        "images_per_second": rates["streamed"],
        "host_images_per_second": rates["host"],
        "device_busy_share": busy if device_ms else None,
        "processors": count_processors(),
    }


def compute_logits(compiled_dir: Path, count: int) -> Logits:
    """The logits of pictures of noise, always the same ones, in one batch."""
    record = read_compiled_json(compiled_dir).model
    shape = (count, record.input.height, record.input.width, record.input.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with closing(load_for_evaluation(compiled_dir)) as session:
        takes_pixels = session.description.takes_pixels
        return session.run(pixels if takes_pixels else normalise_pixels(pixels, record))


def compile_variants(weights: Path, work: Path, device: str) -> None:
    """Compile the network in fp16 with each of the settings whose speed is compared, into `work / NAME`."""
    record = read_model_record(MODEL)
    for name, settings in VARIANTS.items():
        choice = CompileChoice(engine="torch", device=device, precision="fp16", settings=settings)
        compile_model(
            weights,
            work / name,
            find_engine("torch").resolve(choice, record),
            overwrite=False,
            listener=SILENT,
        )


def _ignore(_predictions: object) -> None:
    """Nobody hears of a batch."""


def _link_images(demo: Path, count: int) -> Path:
    folder = demo / "streamed"
    labels = [line.split() for line in (demo / "held_out.txt").read_text().splitlines()]
    if not folder.exists():
        folder.mkdir()
        lines = []
        for number in range(count):
            name, label = labels[number % len(labels)]
            link = folder / f"{number:06d}{Path(name).suffix}"
            link.hardlink_to(demo / "held_out" / name)
            lines.append(f"{link.name} {label}\n")
        (demo / "streamed.txt").write_text("".join(lines))
    return folder


def summarise(work: Path) -> Iterator[str]:
    """The lines of summary.md: agreement, speed by batch size, settings, streams."""
    yield "# Device check\n"
    yield from _summarise_runs([file.parent for file in sorted(work.glob("run-*/benchmark.json"))])
    yield from _summarise_benches(sorted(work.glob("bench-*")))
    yield from _summarise_logits(sorted(work.glob("logits-*-1.npy")))
    yield "\n## Decode to prediction\n"
    yield "| precision | images | batch | images/s | the device alone | the host alone | device busy |"
    yield "|---|---|---|---|---|---|---|"
    for file in sorted(work.glob("stream-*.json")):
        found = json.loads(file.read_text())
        busy, precision = found["device_busy_share"], file.stem.removeprefix("stream-")
        rows = _read(work / f"run-{precision}" / "benchmark.json")["rows"]
        alone = [row for row in rows if (row["batch_size"], row["clock"]) == (found["batch_size"], "device")]
        yield (
            f"| {precision} | {found['images']:,} | {found['batch_size']} "
            f"| {found['images_per_second']:,.0f} | {_describe(alone[0] if alone else None)[0]} "
            f"| {found['host_images_per_second']:,.0f} "
            f"| {'not told' if busy is None else f'{100 * busy:.0f} %'} |"
        )


def _summarise_logits(firsts: list[Path]) -> Iterator[str]:
    yield "\n## Two processes, the same noise\n"
    for first in firsts:
        second = first.with_name(first.name.replace("-1.npy", "-2.npy"))
        name = first.name.removeprefix("logits-").removesuffix("-1.npy")
        if not second.exists():
            yield f"- {name}: one of the two failed"
            continue
        difference = float(np.abs(np.load(first) - np.load(second)).max())
        yield f"- {name}: {f'logits differ by {difference:.3g}' if difference else 'bit-identical logits'}"


def _summarise_runs(runs: list[Path]) -> Iterator[str]:
    yield "## Agreement with the CPU in fp32\n"
    yield "| precision | Top-1 | same Top-1 | largest logit difference | device |"
    yield "|---|---|---|---|---|"
    for run in runs:
        metrics, manifest = _read(run / "metrics.json"), _read(run / "manifest.json")
        top1, agreement = metrics["accuracy"]["top1"], metrics["agreement"]
        session = manifest["sessions"][f"torch {manifest['precision']}"]
        yield (
            f"| {manifest['precision']} | {top1['hits']} of {metrics['accuracy']['image_count']} "
            f"| {agreement['same_top1_count']} of {agreement['image_count']} "
            f"| {agreement['max_logit_difference']:.3g} | {session['device_name']}, {session['runtime']} |"
        )
    yield "\n## Speed by batch size, images/s (median), and the calls' 50th and 99th percentile in ms\n"
    yield "| precision | batch | device | p50 | p99 | call | p50 | p99 | |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for run in runs:
        yield from _summarise_rows(_read(run / "benchmark.json"), _read(run / "manifest.json")["precision"])


def _summarise_benches(runs: list[Path]) -> Iterator[str]:
    if not runs:
        return
    yield "\n## Other settings, in fp16\n"
    yield "| setting | batch | device | p50 | p99 | call | p50 | p99 | |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for run in (run for run in runs if (run / "benchmark.json").exists()):  # else the steps name it
        benchmark = _read(run / "benchmark.json")
        yield from _summarise_rows(benchmark, run.name.removeprefix("bench-"))
        for cost in benchmark["loading"]:
            yield (
                f"| {run.name.removeprefix('bench-')} | first call of {cost['first_call_batch_size']} | | | "
                f"| {cost['first_call_ms'] / 1000:.1f} s | | | loaded in {cost['load_ms'] / 1000:.1f} s |"
            )


def _summarise_rows(benchmark: dict[str, Any], name: str) -> Iterator[str]:
    by_size: dict[int, dict[str, Any]] = {}
    for row in benchmark["rows"]:
        by_size.setdefault(row["batch_size"], {})[row["clock"]] = row
    for size, rows in by_size.items():
        cells = [cell for clock in ("device", "call") for cell in _describe(rows.get(clock))]
        invalid = sorted({reason for row in rows.values() for reason in row["validity"]["reasons"]})
        yield f"| {name} | {size} | {' | '.join(cells)} | {'; '.join(invalid)} |"


def _describe(row: dict[str, Any] | None) -> tuple[str, str, str]:
    if row is None:
        return "not told", "", ""
    latency = row["latency_ms"]
    rate = f"{row['images_per_second']['median']:,.0f}"
    return rate, f"{latency['p50']:.2f}", f"{latency['p99']:.2f}"


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def main(arguments: list[str]) -> int:
    """One of the steps below.

    make FOLDER TRAINING HELD_OUT, variants WEIGHTS WORK DEVICE, stream COMPILED DEMO COUNT BATCH OUT,
    logits COMPILED COUNT OUT, or summarise WORK OUT
    """
    match arguments:
        case ["make", folder, training, held_out]:
            Path(folder).mkdir(parents=True)
            make_files(Path(folder), training_count=int(training), held_out_count=int(held_out))
        case ["variants", weights, work, device]:
            compile_variants(Path(weights), Path(work), device)
        case ["stream", compiled, demo, count, batch_size, out]:
            found = measure_stream(Path(compiled), Path(demo), int(count), int(batch_size))
            Path(out).write_text(json.dumps(found))
            sys.stdout.write(f"{json.dumps(found)}\n")
        case ["logits", compiled, count, out]:
            np.save(out, compute_logits(Path(compiled), int(count)))
        case ["summarise", work, out]:
            Path(out).write_text("\n".join(summarise(Path(work))) + "\n")
        case _:
            sys.stderr.write(f"{main.__doc__}\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
