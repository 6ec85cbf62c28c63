"""A run that was not run: what its result files could hold, written down by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from assay.convert.parity import LogitParity
from assay.images.pixel_check import PixelCheck
from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import measure_accuracy, measure_class_accuracy
from assay.measure.accuracy.agreement import Agreement
from assay.measure.accuracy.paired import measure_paired_accuracy
from assay.measure.environment import Machine
from assay.measure.speed.throughput import Latency, Spread, ThroughputRow
from assay.models.record import ModelRecord
from assay.runs.results_file import Benchmark, ImageSet, Manifest, Metrics

MakeRow = Callable[..., ThroughputRow]


@pytest.fixture
def manifest(se_resnext50: ModelRecord) -> Manifest:
    return Manifest(
        status="finished",
        arguments=("run", "--images", "val"),
        started="2026-01-02T03:04:05Z",
        machine=Machine(
            system="Linux 6.1 x86_64",
            processor="Example CPU",
            processors=4,
            processor_quota=1.5,
            memory_bytes=8 * 2**30,
            load_average=0.25,
            python="3.11.9",
            packages={"numpy": "2.4.6", "onnx": "not installed"},
        ),
        pixel_check=PixelCheck(
            pillow="13.0.0", pillow_jpeg="libjpeg-turbo 3.2.0", simplejpeg="1.9.0", differing=()
        ),
        model=se_resnext50,
        hashes={"weights.pth": "ab" * 32},
        opset=18,
        logit_parity=LogitParity(image_count=4, max_difference=2.5e-6, top1_agreement_count=4),
        engine="openvino",
        engine_version="2026.0",
        device="CPU",
        precision="fp32",
        image_set=ImageSet(
            path="val",
            form="one folder",
            label_source="label file val_label.txt",
            image_count=4,
            ignored_count=0,
            unlabelled_count=0,
            sha256="cd" * 32,
        ),
    )


@pytest.fixture
def metrics() -> Metrics:
    """Two of four images right at Top-1, three at Top-5, one not decodable."""
    labels_and_classes = [(1, (1, 2, 3, 4, 5)), (2, (2, 1, 3, 4, 5)), (3, (1, 2, 3, 4, 5))]
    predictions = [
        Prediction(name="a", relative_path=f"{n}", label=label, status="ok", top_classes=classes)
        for n, (label, classes) in enumerate(labels_and_classes)
    ]
    predictions.append(
        Prediction(name="b", relative_path="3", label=1, status="not decodable: a | pipe and a * star")
    )
    return Metrics(
        accuracy=measure_accuracy(predictions),
        agreement=Agreement(
            reference="torch",
            image_count=3,
            same_top1_count=2,
            max_logit_difference=0.5,
            differing_images=("2",),
            paired=measure_paired_accuracy(both=1, lost=1, won=0, neither=1),
        ),
        per_class=measure_class_accuracy(predictions),
    )


@pytest.fixture(scope="session")
def make_row() -> MakeRow:
    """Return a function that makes a row of the median rate, with two other values around it."""

    def make(batch_size: int, rate: float, **changes: str) -> ThroughputRow:
        values = {"engine": "openvino", "device": "CPU", "precision": "fp32", "clock": "call", **changes}
        return ThroughputRow(
            **values,  # type: ignore[arg-type]  # the clock is one of three
            batch_size=batch_size,
            caller_count=2,
            images_per_second=Spread(median=rate, values=(rate - 1, rate, rate + 1, rate, rate)),
            latency_ms=Latency(p50=10.0, p90=20.0, p99=30.0),
            warm_up_ms=(50.0,),
            call_ms=((10.0,), (20.0,), (30.0,), (10.0,), (10.0,)),
        )

    return make


@pytest.fixture
def benchmark(make_row: MakeRow) -> Benchmark:
    return Benchmark(rows=[make_row(1, 40.0), make_row(4, 90.0), make_row(8, 80.0)])
