"""What `assay doctor` finds, and how it is shown."""

from __future__ import annotations

import textwrap

import msgspec

from assay.images.pixel_check import PixelCheck
from assay.measure.environment import Machine
from assay.report.tables.machine import describe_load, describe_memory

WIDTH = 80
_RESAMPLERS = {
    "avx2": "the C extension, with AVX2",
    "c": "the C extension, without AVX2",
    "pillow": "Pillow: assay was built without a C compiler (slower, same pixels)",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a data set or a machine: how often, the first few, and whether it is a fault."""

    what: str
    count: int
    examples: tuple[str, ...]
    is_fault: bool


class ImageDiagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy of a data set is, and whether an accuracy measured on it can be trusted.

    `archive_sha256` is there for a file that has the name or the size of the published archive.
    """

    path: str
    form: str
    label_source: str
    image_count: int
    labelled_count: int
    class_count: int
    val_image_count: int
    archive_bytes: int | None
    archive_sha256: str | None
    findings: tuple[Finding, ...]
    is_whole: bool
    verdict: str

    @property
    def fault_count(self) -> int:
        """How many of the findings are faults."""
        return sum(finding.is_fault for finding in self.findings)


class MachineDiagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine is, and what of it would spoil a result."""

    machine: Machine
    pixel_check: PixelCheck
    findings: tuple[Finding, ...]


def summarise_images(diagnosis: ImageDiagnosis) -> list[str]:
    """What a copy of a data set is and what is wrong with it, in lines of 80 columns."""
    lines = [
        f"{diagnosis.path}: {diagnosis.form}",
        f"{diagnosis.image_count:,} images, {diagnosis.labelled_count:,} with a label, of "
        f"{diagnosis.class_count:,} classes",
        f"Labels: {diagnosis.label_source}",
    ]
    if diagnosis.archive_bytes is not None:
        lines.append(f"Size: {diagnosis.archive_bytes:,} bytes")
    if diagnosis.archive_sha256 is not None:
        lines.append(f"sha256: {diagnosis.archive_sha256}")
    return [*lines, "", *_list_findings(diagnosis.findings), *textwrap.wrap(diagnosis.verdict, WIDTH)]


def summarise_machine(diagnosis: MachineDiagnosis) -> list[str]:
    """What the machine is and what is wrong with it, in lines of 80 columns."""
    machine, pixels = diagnosis.machine, diagnosis.pixel_check
    quota = "" if machine.processor_quota is None else f", of which {machine.processor_quota:g} may be used"
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    lines = [
        machine.system,
        f"{machine.processors} processors{quota}: {machine.processor}",
        f"Memory {describe_memory(machine)}; load {describe_load(machine)}",
        *textwrap.wrap(f"Python {machine.python}; {packages}", WIDTH, subsequent_indent="  "),
        f"Pixels: Pillow {pixels.pillow} ({pixels.pillow_jpeg}), simplejpeg {pixels.simplejpeg}",
        f"Resized by {_RESAMPLERS.get(pixels.resampler, pixels.resampler)}",
    ]
    verdict = "" if diagnosis.findings else "Nothing is wrong: the pixels are the verified ones."
    return [*lines, "", *_list_findings(diagnosis.findings), *([verdict] if verdict else [])]


def _list_findings(findings: tuple[Finding, ...]) -> list[str]:
    lines = []
    for finding in sorted(findings, key=lambda finding: not finding.is_fault):
        kind = "FAULT" if finding.is_fault else "note "
        lines += textwrap.wrap(
            f"{kind} {finding.count:>6,}  {finding.what}", WIDTH, subsequent_indent=" " * 14
        )
        for example in finding.examples:
            lines += textwrap.wrap(example, WIDTH, initial_indent=" " * 14, subsequent_indent=" " * 16)
    return [*lines, ""] if lines else []
