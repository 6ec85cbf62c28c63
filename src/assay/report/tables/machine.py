"""The report's tables of the machine, the versions and the files' hashes."""

from __future__ import annotations

from assay.measure.environment import Machine
from assay.report.tables.table import Table
from assay.runs.results_file import Manifest


def make_machine_table(manifest: Manifest) -> Table:
    """Return the machine and software that the run was made with."""
    machine = manifest.machine
    quota = "" if machine.processor_quota is None else f", limited to {machine.processor_quota:g}"
    rows = [
        ("Processor", f"{machine.processor}, {machine.processors} processors{quota}"),
        ("Memory", describe_memory(machine)),
        ("System", machine.system),
        ("Load average at the start", describe_load(machine)),
        ("Python", machine.python),
        ("assay", manifest.assay_version),
    ]
    rows += [(name, version) for name, version in machine.packages.items()]
    check = manifest.pixel_check
    verdict = f"differ: {', '.join(check.differing)}" if check.differing else "as verified"
    rows.append(("Pixels of the built-in JPEGs", f"{verdict} ({check.pillow_jpeg})"))
    return Table(title="Machine and software", header=("What", "Found"), rows=tuple(rows), is_text=True)


def describe_memory(machine: Machine) -> str:
    """The machine's memory in GiB, where its system tells it."""
    return "unknown" if machine.memory_bytes is None else f"{machine.memory_bytes / 2**30:.1f} GiB"


def describe_load(machine: Machine) -> str:
    """The load average over a minute, where the system has one."""
    return "unknown" if machine.load_average is None else f"{machine.load_average:.2f}"


def make_hash_table(manifest: Manifest) -> Table:
    """Return the sha256 of what went in and what came out."""
    rows = tuple(manifest.hashes.items())
    return Table(title="sha256", header=("What", "sha256"), rows=rows, is_text=True)
