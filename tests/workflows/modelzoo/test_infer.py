"""`assay infer`: whatever reads the inference tool's results reads ours (facts ascend.md 1.5 to 1.8)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from assay.models.choose_record import store_record
from assay.modelzoo.result_folders import encode_result
from conftest import RunAssay
from network_forms import TINY_RECORD, make_tiny_network, write_form

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "modelzoo" / "ais_infer.py"
# What the newest tool prints, as facts 1.8 gives it; one expression for all its generations.
THROUGHPUT = re.compile(r"throughput .*:\s*([0-9.eE+-]+)\s*$", re.MULTILINE)
IMAGE = (3, 224, 224)


@pytest.fixture(scope="module")
def compiled(run_assay: RunAssay, colour_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled model of the default engine under an .om's name, for batches of any size."""
    folder = tmp_path_factory.mktemp("compiled") / "colour.om"
    done = run_assay("compile", colour_onnx, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def bins(tmp_path: Path) -> Path:
    """Five images, each brighter than the one before."""
    folder = tmp_path / "bins"
    folder.mkdir()
    for number in range(1, 6):
        np.full(IMAGE, number / 5, dtype=np.float32).tofile(folder / f"img_{number}.bin")
    return folder


def read_text_results(folder: Path) -> dict[str, list[float]]:
    return {file.name: [float(text) for text in file.read_text().split()] for file in folder.iterdir()}


def test_the_text_file_is_byte_for_byte_that_of_the_tool(golden: Path) -> None:
    names = (golden / "efficientnet_lite0" / "names.txt").read_text().split()
    logits = np.load(golden / "efficientnet_lite0" / "logits.npy")
    for name, row in zip(names, logits, strict=True):
        file = golden / "scores" / "2022_09_08-10_11_12" / f"{name.split('.')[0]}_0.txt"
        assert encode_result(row[None], "TXT") == file.read_bytes()


def test_results_summary_and_modes_are_the_newest_tools(
    run_assay: RunAssay, golden: Path, compiled: Path, bins: Path, tmp_path: Path
) -> None:
    output = ["--output", tmp_path / "out", "--output-dirname", "r"]
    done = run_assay("infer", compiled, "--input", bins, *output, "--outfmt", "TXT", "--batchsize", "4")
    assert done.returncode == 0, done.stderr
    folder, summary_path = tmp_path / "out" / "r", tmp_path / "out" / "r_summary.json"
    assert sorted(file.name for file in folder.iterdir()) == [f"img_{number}_0.txt" for number in range(1, 6)]
    modes = [oct(path.stat().st_mode & 0o777) for path in (folder, folder / "img_1_0.txt", summary_path)]
    assert modes == ["0o750", "0o640", "0o640"]
    summary = json.loads(summary_path.read_text())
    theirs = json.loads((golden / "ais_bench_newest" / "r_summary.json").read_text())
    assert [key for key in summary if key != "clock"] == list(theirs)
    assert list(summary["NPU_compute_time"]) == list(theirs["NPU_compute_time"])
    assert summary["filesinfo"]["4"] == {
        "infiles": [f"{bins}/img_5.bin"],
        "outfiles": [f"{folder}/img_5_0.txt"],
    }
    assert summary["NPU_compute_time"]["count"] == len(summary["npu_compute_time_list"]) == 2
    assert summary["H2D_latency"]["count"] == 0  # not measured, and it says so
    assert summary["clock"] == "call"


def test_the_performance_lines_are_the_newest_tools(
    run_assay: RunAssay, compiled: Path, bins: Path, tmp_path: Path
) -> None:
    done = run_assay("infer", compiled, "--input", bins, "--output", tmp_path / "out", "--batchsize", "4")
    assert re.search(
        r"^\[INFO\] NPU_compute_time \(ms\): min = \S+, max = \S+, mean = \S+, median = \S+, "
        r"percentile\(99%\) = \S+$",
        done.stdout,
        re.MULTILINE,
    )
    assert "[INFO] throughput 1000*batchsize.mean(4)/NPU_compute_time.mean(" in done.stdout
    assert f"size:602112 tensor0size:{4 * 602112} filesperbatch:4 runcount:2" in done.stdout
    (summary,) = (tmp_path / "out").glob("*_summary.json")
    times = json.loads(summary.read_text())["npu_compute_time_list"]
    found = THROUGHPUT.search(done.stdout)
    assert found
    assert float(found[1]) == pytest.approx(1000 * 4 / np.mean(times))


def test_without_a_name_the_folder_is_called_by_the_time(
    run_assay: RunAssay, compiled: Path, bins: Path, tmp_path: Path
) -> None:
    done = run_assay("infer", compiled, "--input", bins, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    names = sorted(entry.name for entry in (tmp_path / "out").iterdir())
    assert re.fullmatch(r"\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d", names[0])
    assert names[1] == f"{names[0]}_summary.json"
    assert (tmp_path / "out" / names[0] / "img_1_0.bin").stat().st_size == 4 * 1000  # BIN is the default


def test_a_padded_batch_gives_what_single_images_give(
    run_assay: RunAssay, compiled: Path, bins: Path, tmp_path: Path
) -> None:
    for name, batch_size in [("one", 1), ("three", 3)]:
        output = ["--output", tmp_path, "--output-dirname", name, "--outfmt", "TXT"]
        assert run_assay("infer", compiled, "-i", bins, *output, "--batchsize", batch_size).returncode == 0
    one, three = read_text_results(tmp_path / "one"), read_text_results(tmp_path / "three")
    assert one.keys() == three.keys()
    for name, values in one.items():
        assert three[name] == pytest.approx(values, abs=2e-6)
    assert len({tuple(values) for values in one.values()}) == 5  # each image its own


def test_the_three_forms_hold_the_same_values(
    run_assay: RunAssay, compiled: Path, bins: Path, tmp_path: Path
) -> None:
    for form in ("TXT", "BIN", "NPY"):
        output = ["--output", tmp_path, "--output-dirname", form, "--outfmt", form]
        assert run_assay("infer", compiled, "-i", bins, *output).returncode == 0
    values = np.load(tmp_path / "NPY" / "img_3_0.npy")
    assert (values.shape, values.dtype) == ((1, 1000), np.float32)
    assert (tmp_path / "BIN" / "img_3_0.bin").read_bytes() == values.tobytes()
    text = (tmp_path / "TXT" / "img_3_0.txt").read_text()
    assert text == "".join(f"{value:f} " for value in values[0].tolist()) + "\n"


def test_every_loop_is_measured_and_warm_up_runs_are_not(
    run_assay: RunAssay, compiled: Path, bins: Path, tmp_path: Path
) -> None:
    output = ["--output", tmp_path, "--output-dirname", "r", "--batchsize", "5"]
    done = run_assay("infer", compiled, "-i", bins, *output, "--loop", "3", "--warmup-count", "2")
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "r_summary.json").read_text())["npu_compute_time_list"]) == 3
    assert "[INFO] warm up 2 done" in done.stdout


@pytest.mark.parametrize("kind", ["zero", "random"])
def test_without_input_the_network_runs_on_made_up_values(
    run_assay: RunAssay, compiled: Path, tmp_path: Path, kind: str
) -> None:
    output = ["--output", tmp_path, "--output-dirname", "r"]
    done = run_assay("infer", compiled, *output, "--pure-data-type", kind, "--batchsize", "2", "--loop", "4")
    assert done.returncode == 0, done.stderr
    assert [file.name for file in (tmp_path / "r").iterdir()] == ["pure_infer_data_0.bin"]
    assert len(json.loads((tmp_path / "r_summary.json").read_text())["npu_compute_time_list"]) == 4


def test_a_network_of_uint8_is_given_pixels_where_values_are_made_up(
    run_assay: RunAssay, tmp_path: Path
) -> None:
    make_tiny_network(tmp_path / "plain.onnx")
    record = write_form(tmp_path / "plain.onnx", "uint8 NHWC", TINY_RECORD, tmp_path / "model.onnx")
    store_record(tmp_path / "model.onnx", record)
    done = run_assay("compile", tmp_path / "model.onnx", tmp_path / "compiled", "--engine", "onnxruntime")
    assert done.returncode == 0, done.stderr
    output = ["--output", tmp_path, "--output-dirname", "r", "--pure-data-type", "random"]
    done = run_assay("infer", tmp_path / "compiled", *output)
    assert done.returncode == 0, done.stderr
    bins = tmp_path / "normalised.bin"
    np.full(IMAGE, 0.5, dtype=np.float32).tofile(bins)
    done = run_assay("infer", tmp_path / "compiled", "-i", bins)
    assert (done.returncode, "whole numbers of 0 to 255" in done.stderr) == (5, True)


def test_without_output_only_the_speed_is_said(
    run_assay: RunAssay, compiled: Path, bins: Path, tmp_path: Path
) -> None:
    done = run_assay("infer", compiled, "-i", bins, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)["inference"]
    assert len(document["times_ms"]) == 5
    assert list(tmp_path.iterdir()) == [bins]


def test_the_score_reads_the_results(run_assay: RunAssay, compiled: Path, bins: Path, tmp_path: Path) -> None:
    output = ["--output", tmp_path, "--output-dirname", "r", "--outfmt", "NPY"]
    assert run_assay("infer", compiled, "-i", bins, *output).returncode == 0
    best = {file.name[:5]: int(np.load(file).argmax()) for file in (tmp_path / "r").iterdir()}
    (tmp_path / "labels.txt").write_text("".join(f"{name}.JPEG {label}\n" for name, label in best.items()))
    done = run_assay("score", tmp_path / "r", tmp_path / "labels.txt", tmp_path, "--json")
    assert json.loads(done.stdout)["score"]["metrics"]["accuracy"]["top1"]["hits"] == 5


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--output-dirname", "r"], 2, "--output-dirname needs --output"),
        (["--output", "out", "--output-dirname", "/tmp/r"], 2, "expected a name in out"),
        (["--output", "out", "--output-dirname", "../r"], 2, "expected a name in out"),
        (["--output", "out", "--device", "1"], 2, "a compiled model has one device"),
        (["--output", "out", "--loop", "0"], 2, "--loop is 0"),
        (["--output", "out", "--batchsize", "0"], 2, "--batchsize is 0"),
        (["--output", "out", "--outfmt", "CSV"], 2, "CSV"),
        (["--output", "bins", "--output-dirname", "."], 2, "expected a name in bins"),
        (["--output", "short/x", "-i", "short"], 5, "602,108 bytes of values"),
        (["--output", "out", "-i", "nothing"], 5, "no such folder or file"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    run_assay: RunAssay, compiled: Path, bins: Path, arguments: list[str], status: int, message: str
) -> None:
    folder = bins.parent
    (folder / "short").mkdir()
    (folder / "short" / "a.bin").write_bytes(bytes(602_108))
    source = [] if "-i" in arguments else ["-i", "bins"]
    done = run_assay("infer", compiled, *source, *arguments, cwd=folder)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert sorted(entry.name for entry in folder.iterdir()) == ["bins", "short"]
    assert len(list(bins.iterdir())) == 5
    assert len(list((folder / "short").iterdir())) == 1


def test_a_batch_size_the_model_was_not_compiled_for_is_refused(
    run_assay: RunAssay, colour_onnx: Path, bins: Path, tmp_path: Path
) -> None:
    """The tool takes the number for its throughput alone, and prints a wrong one."""
    assert run_assay("compile", colour_onnx, tmp_path / "of_2", "--batch-size", "2").returncode == 0
    done = run_assay("infer", tmp_path / "of_2", "-i", bins, "--batchsize", "4")
    assert done.returncode == 2
    assert "compiled for batches of 2" in done.stderr
    done = run_assay("infer", tmp_path / "of_2", "-i", bins)
    assert "try get model batchsize:2" in done.stdout


def test_a_folder_with_stale_results_is_refused_and_the_same_run_replaces_its_own(
    run_assay: RunAssay, compiled: Path, bins: Path, tmp_path: Path
) -> None:
    infer = ["infer", compiled, "-i", bins, "--output", tmp_path, "--output-dirname", "r", "--outfmt", "TXT"]
    assert run_assay(*infer).returncode == 0
    before = read_text_results(tmp_path / "r")
    assert run_assay(*infer).returncode == 0
    assert read_text_results(tmp_path / "r") == before  # one line each: nothing is appended (facts 1.7)
    (tmp_path / "r" / "old_0.txt").write_text("1.0 \n")
    done = run_assay(*infer)
    assert done.returncode == 2
    assert "old_0.txt" in done.stderr


def test_quirk_16_the_published_command_runs_as_pasted(compiled: Path, bins: Path, tmp_path: Path) -> None:
    arguments = [
        "\u2013model",
        str(compiled),
        "--input",
        f"{bins.name}/",
        "--output",
        "./",
        "--outfmt",
        "TXT",
    ]
    command = [sys.executable, str(SCRIPT), *arguments, "--batchsize", "16"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (summary,) = tmp_path.glob("*_summary.json")
    assert len(list((tmp_path / summary.name.removesuffix("_summary.json")).iterdir())) == 5
