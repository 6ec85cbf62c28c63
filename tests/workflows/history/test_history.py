"""A history of results: what is taken into it, how runs are judged by it, and the trends that it shows."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest

from assay.errors import AssayError, BadInputError, UsageError
from assay.measure.gates import Evidence, parse_gate
from assay.measure.judge_together import judge_gates
from assay.runs.history_file import HistoryRun, add_runs, read_history
from assay.runs.results_file import Manifest
from assay.workflows.history.baseline import list_parts, list_unmeasured
from assay.workflows.history.trends import gather_trends
from assay.workflows.history.verified_run import read_verified_run
from conftest import RunAssay
from history_runs import make_accuracy, make_run, make_speed

RATES = np.array([100.0, 101.0, 99.0, 100.5, 99.5])
RIGHT = np.arange(2000) % 4 != 0
GATE = [parse_gate("no-worse-than:baseline")]


def judge(history: list[HistoryRun], *candidates: HistoryRun) -> dict[str, str]:
    found = judge_gates(GATE, Evidence(baseline=list_parts(history, candidates)))
    return {one.gate.removeprefix("no-worse-than:baseline "): one.outcome for one in found}


@pytest.fixture(scope="module")
def run_folder(run_assay: RunAssay, colour_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with an accuracy and a speed."""
    from assay.images.drawn_images import draw_labelled_images

    folder = tmp_path_factory.mktemp("history")
    draw_labelled_images(folder / "images", folder / "labels.txt", image_count=12, seed=3)
    given = ["--weights", colour_onnx, "--images", folder / "images", "--labels", folder / "labels.txt"]
    done = run_assay("run", *given, "--batch-size", "1", "-o", folder / "run", "-q")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_run_is_kept_judged_and_shown_by_the_command_line(
    run_assay: RunAssay, run_folder: Path, tmp_path: Path
) -> None:
    """The speed of a tenth of a second is INVALID: it stays so, and proves nothing."""
    add = ["history", "add", run_folder]
    done = run_assay(*add, "--baseline", "--note", "abc <1>", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run 1, baseline" in done.stdout
    again = json.loads(run_assay(*add, "--json", "--gate", "no-worse-than:baseline", cwd=tmp_path).stdout)
    assert again["runs"] == [1]
    assert {gate["outcome"] for gate in again["gates"]} == {"cannot tell"}
    shown = run_assay("history", "show", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "INVALID" in shown.stdout
    page = (tmp_path / "history.html").read_text()
    assert page.count("<circle") == 2
    assert "abc &lt;1&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def copy_run(run: Path, target: Path, file: str, **changes: object) -> Path:
    """A run folder with other values in one of its JSON files."""
    import shutil

    shutil.copytree(run, target)
    text = json.loads((target / file).read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = text
        for name in parents:
            place = place[int(name)] if name.isdigit() else place[name]
        place[last] = value
    (target / file).write_text(json.dumps(text))
    return target


@pytest.mark.parametrize(
    ("file", "changes", "problem"),
    [
        ("metrics.json", {"accuracy__top1__hits": 12}, "accuracy, with its intervals"),
        ("benchmark.json", {"rows__0__images_per_second__median": 1e6}, "images per second"),
        ("benchmark.json", {"rows__0__validity__is_valid": True}, "VALID or not"),
        ("manifest.json", {"status": "interrupted"}, "interrupted"),
    ],
)
def test_figures_that_cannot_be_computed_again_are_refused(
    run_folder: Path, tmp_path: Path, file: str, changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(AssayError, match=problem):
        read_verified_run(copy_run(run_folder, tmp_path / "run", file, **changes))


def test_a_speed_whose_verdict_was_taken_away_is_invalid(run_folder: Path, tmp_path: Path) -> None:
    stripped = copy_run(run_folder, tmp_path / "run", "benchmark.json", rows__0__validity=None)
    (speed,) = read_verified_run(stripped).speeds
    assert speed.invalid == ("nothing says whether it is VALID",)


def test_the_same_run_is_no_worse_and_a_worse_one_is(manifest: Manifest) -> None:
    rng = np.random.default_rng(2)
    worse = RIGHT & (rng.random(2000) > 0.02)
    before = [
        make_run(manifest, number, make_accuracy(RIGHT), make_speed(RATES + number / 2), is_baseline=True)
        for number in range(1, 6)
    ]
    same = make_run(manifest, 6, make_accuracy(RIGHT), make_speed(RATES + 1))
    slow = make_run(manifest, 7, make_accuracy(worse), make_speed(RATES * 0.9))
    assert judge(before, same) == {"(accuracy)": "pass", "(speed, batch 8, call clock)": "pass"}
    assert judge(before, slow) == {"(accuracy)": "fail", "(speed, batch 8, call clock)": "fail"}
    assert judge(before[:1], slow)["(speed, batch 8, call clock)"] == "cannot tell"
    assert list_unmeasured(before, [make_run(manifest, 8, make_accuracy(RIGHT))]) == [
        "Not judged: speed, batch 8, call clock, which was not measured"
    ]


def test_invalid_speeds_and_other_inputs_are_no_baseline(manifest: Manifest) -> None:
    invalid = make_speed(RATES, "others took more than 5 % of the processors")
    other = make_accuracy(RIGHT, images="c" * 64)
    before = make_run(manifest, 1, other, invalid, is_baseline=True)
    found = list_parts([before], [make_run(manifest, 2, make_accuracy(RIGHT), make_speed(RATES))])
    assert "other images, labels or classes" in found[0].problem
    assert found[1].problem == "the baseline is INVALID: others took more than 5 % of the processors"
    machine = msgspec.structs.replace(invalid.series, machine="another")
    elsewhere = msgspec.structs.replace(make_speed(RATES), series=machine)
    (moved,) = list_parts([before], [make_run(manifest, 3, None, elsewhere)])
    assert "no baseline of" in moved.problem


def test_a_baseline_of_one_day_says_that_days_may_differ(manifest: Manifest) -> None:
    before = [
        msgspec.structs.replace(
            make_run(manifest, number, None, make_speed(RATES + number), is_baseline=True),
            started=f"2026-01-01T0{number}:00:00Z",
        )
        for number in range(5)
    ]
    for started, remark in (
        ("2026-01-01T09:00:00Z", ""),
        ("2026-01-07T09:00:00Z", "the baseline is of 2026-01-01 alone and does not show how far days differ"),
    ):
        own = msgspec.structs.replace(make_run(manifest, 9, None, make_speed(RATES)), started=started)
        assert list_parts(before, [own])[0].remark == remark


def test_a_run_is_never_its_own_baseline(manifest: Manifest) -> None:
    run = make_run(manifest, 1, make_accuracy(RIGHT), is_baseline=True)
    assert judge([run], run) == {"(accuracy)": "cannot tell"}


def test_trends_are_of_what_can_be_compared_and_say_what_changed(manifest: Manifest) -> None:
    later = msgspec.structs.replace(manifest, engine_version="2027.0")
    lossy = RIGHT & (np.arange(2000) % 40 != 1)
    history = [
        make_run(
            manifest if number <= 8 else later,
            number,
            make_accuracy(RIGHT if number <= 8 else lossy),
            make_speed(RATES * (1 if number <= 8 else 0.95) + 0.1 * (number % 3)),
        )
        for number in range(1, 17)
    ]
    history.append(make_run(later, 17, make_accuracy(RIGHT, preprocessing="d" * 64)))
    accuracy, other, speed = gather_trends(history)
    assert [len(trend.runs) for trend in (accuracy, other, speed)] == [16, 1, 16]
    assert accuracy.notes == ("Apart from a trend of another preprocessing",)
    for trend in (accuracy, speed):
        assert [change.run for change in trend.changes] == [9]
        assert trend.changes[0].changed == ("engine: openvino 2027.0 instead of openvino 2026.0",)
    assert accuracy.changes[0].by == "-2.50 points"
    low, high = accuracy.runs[0].low, accuracy.runs[0].high
    assert (round(low, 2), round(high, 2)) == (73.06, 76.85)  # Wilson, 1,500 of 2,000


def test_a_history_gives_back_what_was_added(manifest: Manifest, tmp_path: Path) -> None:
    run = make_run(
        manifest, 1, make_accuracy(RIGHT), make_speed(RATES, "why"), make_speed(RATES, batch_size=1)
    )
    assert add_runs(tmp_path / "h.sqlite", [run]) == [run]
    marked = msgspec.structs.replace(run, is_baseline=True, note="kept")
    assert add_runs(tmp_path / "h.sqlite", [marked]) == [marked]
    assert read_history(tmp_path / "h.sqlite") == [marked]


def test_what_is_no_history_is_refused_and_left_as_it_is(manifest: Manifest, tmp_path: Path) -> None:
    run = make_run(manifest, 1, make_accuracy(RIGHT))
    with pytest.raises(UsageError, match="no such history"):
        read_history(tmp_path / "missing.sqlite")
    text = tmp_path / "notes.txt"
    text.write_text("mine " * 300)
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE mine (a)")
    add_runs(tmp_path / "edited.sqlite", [run])
    with sqlite3.connect(tmp_path / "edited.sqlite") as connection:
        connection.execute("UPDATE accuracies SET top1_hits = 1999")
    for name in ("notes.txt", "other.sqlite", "edited.sqlite"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(BadInputError, match=name):
            add_runs(tmp_path / name, [run])
        assert (tmp_path / name).read_bytes() == before
