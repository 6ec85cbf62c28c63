"""The wheel and the source archive: built as for a release, installed into an empty environment and used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import assay

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "assay"
pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    """The output of a command that knows nothing of the repository, after it has succeeded."""
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=1500
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source archive, and the wheel that was built from that archive alone."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment that holds the wheel and what it needs, no extras."""
    folder = tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "venv", folder / "env", cwd=folder)
    programs = folder / "env" / "bin"
    (wheel,) = dist.glob("*.whl")
    constraints = ROOT / "constraints.txt"
    run(programs / "python", "-m", "pip", "install", "-q", "-c", constraints, wheel, cwd=folder)
    return programs


def list_data_files() -> set[str]:
    """What the package reads at run time besides Python files, as paths below the package."""
    files = {file.relative_to(PACKAGE) for file in PACKAGE.rglob("*") if file.is_file()}
    built = {".py", ".pyc", ".so", ".c"}
    return {f"assay/{file.as_posix()}" for file in files if file.suffix not in built}


def test_the_wheel_is_for_every_python_from_311_and_holds_all_that_the_package_reads(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    assert wheel.name.startswith(f"assay-{assay.__version__}-cp311-abi3-")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert len(list_data_files()) >= 10
    assert list_data_files() - names == set()
    for extension in ("assay/images/_resample", "assay/modelzoo/_numbers"):
        assert {name for name in names if name.startswith(f"{extension}.abi3.")}
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {
        "LICENSE",
        "WORDNET-LICENSE.txt",
    }


def test_the_source_archive_holds_what_the_wheel_is_built_from_and_no_tests(dist: Path) -> None:
    (source,) = dist.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {"src/assay/images/_resample.c", "src/assay/modelzoo/_numbers.c"}
    assert {"pyproject.toml", "LICENSE", "README.md", *sources} <= names
    assert {f"src/{name}" for name in list_data_files()} <= names
    assert not any(name.startswith("tests/") for name in names)


def test_an_installed_wheel_says_its_version_and_resizes_with_the_c_extension(
    installed: Path, tmp_path: Path
) -> None:
    assert run(installed / "assay", "--version", cwd=tmp_path).split() == [assay.__version__]
    metadata = "import importlib.metadata as m; print(m.version('assay'))"
    assert run(installed / "python", "-c", metadata, cwd=tmp_path).strip() == assay.__version__
    machine = json.loads(run(installed / "assay", "doctor", "--json", cwd=tmp_path))
    assert machine["machine"]["pixel_check"]["resampler"] in {"avx2", "c"}


def test_an_installed_wheel_shows_the_demos_help_and_evaluates_without_the_repository(
    installed: Path, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    where = run(installed / "python", "-c", "import assay; print(assay.__file__)", cwd=tmp_path)
    assert not Path(where.strip()).is_relative_to(ROOT)
    assert "weights made on the spot" in run(installed / "assay", "demo", "--help", cwd=tmp_path)
    run(installed / "assay", "compile", colour_onnx, "compiled", cwd=tmp_path)
    run(installed / "assay", "evaluate", "compiled", "--images", photographs, "-o", "run", cwd=tmp_path)
    accuracy = json.loads((tmp_path / "run" / "metrics.json").read_text())["accuracy"]
    assert (accuracy["image_count"], accuracy["failed_count"]) == (12, 0)
    assert "<svg" in (tmp_path / "run" / "report.html").read_text()
