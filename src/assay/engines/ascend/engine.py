"""The `ascend` engine: Huawei's Ascend chips, compiled for by ATC and run by the inference tool's package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import msgspec

from assay.engines.ascend import aipp
from assay.engines.ascend.atc import AIPP_NAME, OUTPUT_STEM, AtcOptions, check_chip, run_atc
from assay.engines.ascend.model_input import ModelInput
from assay.engines.ascend.process import CALL_SIZE, AisBenchProcess
from assay.engines.ascend.session import AscendSession
from assay.engines.ascend.toolkit import choose_soc_version, find_atc, find_cann_version, find_chips
from assay.engines.compiled_model import CompiledModel, read_compiled_for
from assay.engines.engine import BatchSizes, CompileChoice, CompileOptions, Session, SourceKind
from assay.engines.options import check_options, choose_setting
from assay.engines.sources import check_source, computes_in_float16, fix_batch_size, record_compiled
from assay.errors import BadModelError, EngineError, UsageError, quote, shorten
from assay.models.record import ModelRecord

OM_FILE = f"{OUTPUT_STEM}.om"
RUNNERS = ("python", "process")
# ATC's names by what the layers then compute in; the first is what a precision means by itself.
PRECISION_MODES = {
    "fp16": ("force_fp16", "allow_fp32_to_fp16", "allow_mix_precision", "allow_mix_precision_fp16"),
    "fp32": ("must_keep_origin_dtype", "force_fp32", "cube_fp16in_fp32out"),
    "bf16": ("allow_mix_precision_bf16", "allow_fp32_to_bf16"),
}
_WITHOUT_BF16 = ("Ascend310", "Ascend310P", "Ascend910A", "Ascend910B")


class AscendEngine:
    """Its compiled model is ATC's offline model; a batch size, or gears, are fixed when it is compiled."""

    name = "ascend"
    source: SourceKind = "ONNX file"
    precisions: tuple[str, ...] = tuple(PRECISION_MODES)
    devices: tuple[str, ...] = ("npu",)
    proven_devices: tuple[str, ...] = ()
    batch_sizes: BatchSizes = "fixed"
    settings: Mapping[str, str] = MappingProxyType(
        {
            "soc_version": "the chip, such as Ascend310P3; that of this machine if not given",
            "precision_mode": "ATC's own name, of those that fit --precision",
            "dynamic_batch_size": "batch sizes of one model, such as 1,4,8,16; instead of --batch-size",
            "insert_op_conf": "rgb: the chip normalises pixels; rgb-crop, yuv, or a file, are not evaluated",
            "atc_options": "more of ATC's options, parted by blanks",
            "device_id": "number of the device, 0 if not given",
            "card_devices": "how many such devices one card has: 4 on an Ascend 310 card",
            "runner": "python (if not given): the tool's package; process: python3 -m ais_bench",
            "python": "the Python that runs ais_bench, with runner=process",
        }
    )

    @property
    def version(self) -> str:
        """See `Engine.version`."""
        return find_cann_version()

    def find_devices(self) -> dict[str, str]:
        """See `Engine.find_devices`."""
        chips = find_chips()
        return {"npu": f"{len(chips)} x {', '.join(sorted(set(chips)))}"} if chips else {}

    def resolve(self, choice: CompileChoice, record: ModelRecord) -> CompileOptions:
        """See `Engine.resolve`; the chip and ATC's precision mode are filled in."""
        options = check_options(self, choice, record)
        find_atc()
        settings = dict(options.settings)
        settings["soc_version"] = soc_version = choose_soc_version(settings.get("soc_version", ""))
        choose_setting(options, "runner", RUNNERS)
        settings["precision_mode"] = choose_setting(
            options, "precision_mode", PRECISION_MODES[options.precision]
        )
        if options.precision == "bf16" and soc_version.rstrip("1357") in _WITHOUT_BF16:
            raise UsageError(f"{soc_version} does not compute in bf16", hint="choose --precision fp16")
        for name, least in (("device_id", 0), ("card_devices", 1)):
            if not (settings.get(name, "1").isdigit() and int(settings.get(name, "1")) >= least):
                raise UsageError(f"{name}={settings[name]}: expected a whole number from {least}")
        gears = _read_gears(settings)
        if bool(gears) == (options.batch_size is not None):
            raise UsageError(
                "a model for this chip is compiled for one batch size, or for several that are named",
                hint="give --batch-size 16, or --set dynamic_batch_size=1,4,8,16; not both",
            )
        return replace(options, settings=settings)

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """See `Engine.compile`."""
        output = _choose_output(source, options)
        atc_options = AtcOptions(
            record=options.record,
            soc_version=options.settings["soc_version"],
            batch_size=options.batch_size,
            gears=_read_gears(options.settings),
            precision_mode=options.settings["precision_mode"],
            aipp=_make_aipp(options),
            extra=options.settings.get("atc_options", "").split(),
            output=output,
        )
        run_atc(find_atc(), source, compiled_dir, atc_options)
        if atc_options.aipp:
            (compiled_dir / AIPP_NAME).write_text(atc_options.aipp, encoding="ascii")
        call_size = CALL_SIZE if options.settings.get("runner") == "process" else 0
        takes_pixels = bool(atc_options.aipp) and _takes_pixels(atc_options.aipp, options.record)
        return record_compiled(
            self, source, compiled_dir, options, call_size=call_size, takes_pixels=takes_pixels
        )

    def load(self, compiled_dir: Path) -> Session:
        """See `Engine.load`; of a model with AIPP, the session makes the images pixels again."""
        return self._open(compiled_dir, takes_pixels=False)

    def load_for_pixels(self, compiled_dir: Path) -> Session:
        """See `PixelEngine.load_for_pixels`: AIPP normalises them on the chip."""
        return self._open(compiled_dir, takes_pixels=True)

    def count_devices(self, options: CompileOptions) -> int | None:
        """See `NumberedEngine.count_devices`: those that npu-smi lists, in ACL's order."""
        del options
        return len(find_chips()) or None

    def load_on(self, compiled_dir: Path, number: int) -> Session:
        """See `NumberedEngine.load_on`."""
        return self._open(compiled_dir, takes_pixels=True, number=number)

    def _open(self, compiled_dir: Path, *, takes_pixels: bool, number: int | None = None) -> Session:
        compiled = read_compiled_for(self.name, compiled_dir)
        if number is not None:
            settings = compiled.settings | {"device_id": str(number)}
            compiled = msgspec.structs.replace(compiled, settings=settings)
        check_chip(compiled.settings["soc_version"], find_chips())
        model_input = ModelInput(
            sizes=_read_gears(compiled.settings) or [compiled.batch_size or 1],
            has_aipp=_check_aipp_input(compiled_dir, compiled),
            takes_pixels=takes_pixels and compiled.takes_pixels,
        )
        session = AisBenchProcess if compiled.settings.get("runner") == "process" else AscendSession
        return session(compiled, compiled_dir / OM_FILE, model_input)


def _choose_output(source: Path, options: CompileOptions) -> str:
    """The output that ATC must be told to keep, empty where there is one; refuse what could not be run.

    Raises:
        BadModelError: Another batch size; an input or output that ATC's options cannot describe.
    """
    found = check_source(source, options)
    tensor, output = options.record.input, options.record.output.name
    gears, has_aipp = _read_gears(options.settings), bool(options.settings.get("insert_op_conf"))
    if not gears:
        fix_batch_size(source, found, options)
    if (tensor.layout == "NHWC" and (gears or has_aipp)) or (tensor.dtype != "float32" and has_aipp):
        raise BadModelError(
            f"{source}: its input is {tensor.layout}, {tensor.dtype}: ATC takes it for one batch size and "
            "without AIPP",
            hint="give --batch-size, without dynamic_batch_size and insert_op_conf; or export it as NCHW, "
            "float32",
        )
    if options.settings["precision_mode"] == "must_keep_origin_dtype" and computes_in_float16(source):
        raise BadModelError(
            f"{source} holds float16 weights, so the chip would not run it in fp32",
            hint="compile it with --precision fp16, or the float32 file that it was made of",
        )
    if len(found.outputs) == 1:
        return ""
    if set(output) & set(":;"):  # ATC would read a node and its number
        raise BadModelError(
            f"{source}: {len(found.outputs)} outputs, and ATC cannot be told to keep {quote(output)}",
            hint=f"cut it: onnx.utils.extract_model('{source}', 'one.onnx', ['{tensor.name}'], ['{output}'])",
        )
    return output


def _read_gears(settings: Mapping[str, str]) -> list[int]:
    """Return the batch sizes of a model with a dynamic batch, in order; none where its batch is fixed.

    Raises:
        UsageError: Not 2 to 100 whole numbers from 1, parted by commas.
    """
    text = settings.get("dynamic_batch_size", "")
    if not text:
        return []
    parts = text.split(",")
    if not (2 <= len(set(parts)) <= 100 and all(part.isdigit() and int(part) for part in parts)):
        raise UsageError(f"dynamic_batch_size={text}: expected 2 to 100 batch sizes, such as 1,4,8,16")
    return sorted(set(map(int, parts)))


def _make_aipp(options: CompileOptions) -> str:
    """Return the AIPP file's content: written from the record, or the user's own, checked; empty without.

    Raises:
        BadModelError: The file cannot be read, or ATC would refuse it.
    """
    asked = options.settings.get("insert_op_conf", "")
    if not asked:
        return ""
    if asked in aipp.KINDS:
        text = aipp.write_aipp(options.record, asked)
    else:
        try:
            text = Path(asked).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadModelError(
                f"AIPP file {asked} cannot be read: {shorten(error)}",
                hint=f"give the path of one, or let assay write one: {', '.join(aipp.KINDS)}",
            ) from error
    aipp.check_aipp(text, asked, options.record)
    return text


def _check_aipp_input(compiled_dir: Path, compiled: CompiledModel) -> bool:
    """Whether the model takes pixels; refuse one that takes others than a preprocessed image has.

    Raises:
        EngineError: AIPP crops or converts from YUV: that takes frames which only the chip's decoder makes.
    """
    if AIPP_NAME not in compiled.files:
        return False
    if not _takes_pixels((compiled_dir / AIPP_NAME).read_text(encoding="ascii"), compiled.model):
        raise EngineError(
            f"{compiled_dir} takes frames that only the chip's own decoder makes",
            hint="compile it with --insert-op-conf rgb to evaluate it",
        )
    return True


def _takes_pixels(aipp_text: str, record: ModelRecord) -> bool:
    """Whether a model with that AIPP takes the pixels of a preprocessed image."""
    return aipp.check_aipp(aipp_text, AIPP_NAME, record).takes_crop(record)
