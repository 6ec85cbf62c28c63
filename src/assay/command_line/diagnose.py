"""`assay diagnose`: why a model is less accurate than it should be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from assay.command_line.flags import LabelFileFlags, ModelFlags, ReadFlags, ShowFlags, make_help
from assay.command_line.outcome import Outcome
from assay.command_line.parse import refuse_replacing
from assay.defaults import DIAGNOSIS_IMAGE_COUNT
from assay.files import refuse_same_file

if TYPE_CHECKING:
    from assay.report.tables.table import Table
    from assay.workflows.diagnose.diagnose import DiagnosisRequest


@dataclass(frozen=True, kw_only=True)
class DiagnoseFlags(ShowFlags, ModelFlags, LabelFileFlags, ReadFlags):
    """Flags of `assay diagnose`."""

    images: Annotated[Path, make_help("Photographs, in any form that `assay run` takes.")]
    labels: Annotated[Path | None, make_help("Label file of --images, if they need one.")] = None
    limit: Annotated[int, make_help("Images at most, drawn by their names.")] = DIAGNOSIS_IMAGE_COUNT
    expect: Annotated[
        float | None, make_help("What Top-1 should be, in percent; what is published, if not given.")
    ] = None
    output: Annotated[
        Path | None, make_help("Folder for diagnosis.html and diagnosis.json; it is made.", "-o")
    ] = None
    against: Annotated[
        Path | None,
        make_help(
            "What is right: an ONNX file, a checkpoint, a run, or `published`; compares the network too."
        ),
    ] = None
    only: Annotated[Literal["record", "network", "images"] | None, make_help("This part alone.")] = None
    emulate: Annotated[
        Literal["fp16", "bf16", "tf32", "int8-no-vnni"] | None,
        make_help("Predict what another chip's arithmetic does to the answers, from the ONNX file."),
    ] = None
    write: Annotated[Path | None, make_help("Write the record with the changes to this TOML file.")] = None
    overwrite: Annotated[bool, make_help("Replace what --write finds there.")] = False

    def to_request(self, subject: Path) -> DiagnosisRequest:
        """What is diagnosed, and on what; labels that contradict ImageNet's are examined, not refused."""
        import dataclasses

        from assay.images.request import ImageRequest
        from assay.workflows.diagnose.diagnose import DiagnosisRequest

        labels = dataclasses.replace(self.to_label_options(self.labels), trusted=True, unbounded=True)
        return DiagnosisRequest(
            subject=subject,
            images=ImageRequest(
                path=self.images, labels=labels, reading=self.to_read_options(), limit=self.limit
            ),
            model=self.model,
            reference_percent=self.expect,
            against=self.against,
            only=self.only,
            emulate=self.emulate,
        )


def diagnose(model_or_run: Path, /, flags: DiagnoseFlags) -> Outcome:
    """Say why a model is less accurate than it should be.

    Args:
        model_or_run: An ONNX file, a compiled model's folder, or a run folder.
    """
    from assay.command_line.terminal import open_listener
    from assay.report.cause import describe_diagnosis, list_cause_tables
    from assay.report.emulation import describe_emulation
    from assay.workflows.diagnose.diagnose import diagnose as look_for_cause
    from assay.workflows.diagnose.write import LABELS_SUFFIX, write_correction, write_diagnosis

    for place in filter(None, (flags.write, flags.output)):
        refuse_same_file(place, model_or_run, flags.find_model_file(), flags.images, flags.labels)
    if flags.write is not None:  # now, not after minutes
        for path in (flags.write, flags.write.with_suffix(LABELS_SUFFIX)):
            refuse_replacing(path, overwrite=flags.overwrite)
    with open_listener(quiet=flags.quiet) as listener:
        request = flags.to_request(model_or_run)
        found, correction = look_for_cause(request, listener)
    parts = (found.record, found.network, found.images)
    lines: list[str | Table] = [*list_cause_tables(*parts), "", *_wrap(describe_diagnosis(*parts))]
    if found.emulation is not None:
        lines += _wrap(describe_emulation(found.emulation))
    if flags.output is not None:
        lines.append(f"{write_diagnosis(found, flags.output)}")
    if flags.write is not None:
        lines += write_correction(found, correction, request.images, flags.write)
    return Outcome(lines=lines, document=found.to_document())


def _wrap(lines: list[str]) -> list[str]:
    """Sentences in 80 columns, names unbroken; lines to be copied, which are indented, stay as they are."""
    import textwrap

    wrapper = textwrap.TextWrapper(
        width=80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return [part for line in lines for part in ([line] if line[:1] == " " else wrapper.wrap(line))]
