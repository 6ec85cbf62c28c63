"""A double of ATC: the checks, texts and exit statuses that its manual and its published source give."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import onnx

FAILED = 255
SOC_VERSIONS = {"Ascend310", "Ascend310P1", "Ascend310P3", "Ascend310B1", "Ascend310B4", "Ascend910B4"}
KNOWN = {
    *("model", "framework", "output", "input_format", "input_shape", "log", "soc_version", "precision_mode"),
    *("dynamic_batch_size", "insert_op_conf", "enable_small_channel", "buffer_optimize", "out_nodes"),
}
PRECISION_MODES = {
    *("force_fp16", "force_fp32", "cube_fp16in_fp32out", "allow_fp32_to_fp16", "must_keep_origin_dtype"),
    *("allow_mix_precision", "allow_mix_precision_fp16", "allow_mix_precision_bf16", "allow_fp32_to_bf16"),
}
STAMP = "[PID: 10490] 2025-03-18-09:02:18.501.341 "  # as CANN 8.0 puts it before the text
# Failures that the checks below do not come to by themselves, by what ASSAY_DOUBLE_FAILURE asks for.
FORCED_FAILURES = {
    "E10001": "E10001: Value [x] for parameter [--precision_mode] is invalid. Reason: unknown.",
    "E10002": "E10002: Value [image:x] for parameter [--input_shape] is invalid. Reason: no number.",
    "E10003": f"E10003: {STAMP}Value [x] for parameter [--out_nodes] is invalid. Reason: no such node.",
    "E10004": "E10004: Value for parameter [--input_shape] is empty.",
    "E10007": "E10007: --framework is required. The value must be 0(Caffe) or 5(Onnx).",
    "E10009": "E10009: [--dynamic_batch_size] and [--dynamic_dims] are mutually exclusive.",
    "E10011": "E10011: The model has a dynamic input; [--input_shape] is needed.",
    "E10012": "E10012: [--dynamic_batch_size] is set, but the batch of [--input_shape] is not -1.",
    "E10014": "E10014: Value [16,3,224] for parameter [--input_shape] is invalid.",
    "E10016": "E10016: Opname [picture] specified in [--input_shape] is not found in the model.",
    "E10018": "E10018: Value [-1] of [--input_shape] is invalid: only the batch may be -1.",
    "E10035": "E10035: [--dynamic_batch_size] has [1] gears, at least [2] are expected.",
    "E10040": "E10040: [--input_shape] has a range (~), which excludes [--dynamic_batch_size].",
    "E10049": "E10049: Dimension count [3] configured by [--input_shape] is not [4].",
    "E10052": "E10052: AIPP configuration is invalid. Reason: min_chn_0 is out of range.",
    "E10054": "E10054: The requied parameter [--model] for ATC is empty. Another possible reason is that the "
    "values of some parameters are not enclosed by quotation marks.",
    "E40000": "E40000: Failed to compile Op [Conv_0].",
    "E10501": "E10501: IR for Op [Conv_0, optype [Conv2D]] is not registered.",
    "E16002": "E16002: No parser is registered for Op [Resize_1, optype [Resize]].",
    "E19010": "E19010: No parser is registered for Op [Div_3, optype [ai.onnx::23::Div]].",
    "E13000": f"E13000: {STAMP}Failed to open file [model.onnx]. Reason: Permission denied.",
    "E13001": "E13001: Path[out] is empty. Reason: No such file or directory.",
    "E13003": "E13003: Failed to write file [model.om]. Reason: No space left on device.",
    "EC0010": "EC0010: Failed to import Python module [ModuleNotFoundError: No module named 'decorator'.].\n"
    "        Solution: Check that all required components are properly installed.",
    "EZ3003": "EZ3003: No supported Ops kernel and engine are found for [Conv_0], optype [Conv2D].\n"
    "        Possible Cause: The operator is not supported by the system.",
    "EZ9999": "EZ9999: Inner Error!\nTraceBack (most recent call last):",
    "E40021": "E40021: Failed to compile Op [Conv_0]. (oppath: [...])",
    "E10041": "E10041: Failed to load the model from [model.onnx].",
    "E10055": "E10055: The operation is not supported. Reason: the soc version does not support it.",
    "E19999": "E19999: Inner Error!\n        An unknown error occurred. Please check the log.",
}


def main(arguments: list[str]) -> int:
    if os.environ.get("ASSAY_DOUBLE_FAILURE") == "no driver":  # the loader, before ATC itself begins
        sys.stderr.write(
            "atc.bin: error while loading shared libraries: libascend_hal.so: cannot open shared object "
            "file: No such file or directory\n"
        )
        return 127
    print("ATC start working now, please wait for a moment.\n...")
    options = {}
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if name not in KNOWN and name != "auto_tune_mode":
            sys.stderr.write(f"ERROR: unknown command line flag '{name}'\n")
            return fail("")
        if not equals:
            sys.stderr.write(f"ERROR: flag '--{name}' is missing its argument; flag description: x\n")
            return fail("")
        options[name] = value
    error = check(options)
    if error:
        return fail(error)
    failure = os.environ.get("ASSAY_DOUBLE_FAILURE", "")
    if failure in FORCED_FAILURES:
        return fail(FORCED_FAILURES[failure])
    if failure != "no file":
        write_model(options)
    if failure == "no text":
        return 0
    print("ATC run success, welcome to the next use.")
    print(
        "W11001: Op [Gemm_1] does not hit the high-priority operator information library, which might "
        "result in compromised performance."
    )
    return 3 if failure == "exit status" else 0


def fail(text: str) -> int:
    print("ATC run failed, Please check the detail log, Try 'atc --help' for more information")
    print(text or "E19999: Internal Error!\nAn unknown error occurred. Please check the log.")
    return FAILED


def check(options: dict[str, str]) -> str:
    """Return the first error, in the order of the published source; empty where all is well."""
    if "auto_tune_mode" in options:
        return "E10001: The Auto Tune function has been deprecated. Please use the AOE tool for tuning."
    if options.get("framework") != "5":
        return "E10007: [--framework] is required. The value must be [0(Caffe) or 1(MindSpore) or 5(ONNX)]."
    if options.get("soc_version") not in SOC_VERSIONS:
        value = options.get("soc_version", "")
        return f"E10001: Value [{value}] for parameter [--soc_version] is invalid. Reason: unknown."
    for name in ("output", "model"):
        if not options.get(name):
            return f"E10054: The requied parameter [--{name}] for ATC is empty. Another possible reason is "
            "that the values of some parameters are not enclosed by quotation marks."
    if not Path(options["model"]).is_file():
        return f"E13000: Failed to open file [{options['model']}]. Reason: No such file or directory."
    if options.get("precision_mode", "force_fp16") not in PRECISION_MODES:
        return (
            f"E10001: {STAMP}Value [{options['precision_mode']}] for parameter [--precision_mode] is invalid."
        )
    formats = {"NCHW", "NHWC"} if "insert_op_conf" in options else {"NCHW", "NCDHW", "ND"}
    if options.get("input_format", "NCHW") not in formats:
        return f"E10001: Value [{options['input_format']}] for parameter [--input_format] is invalid."
    return check_aipp(options) or check_model(options)


def check_aipp(options: dict[str, str]) -> str:
    if "insert_op_conf" not in options:
        return ""
    text = Path(options["insert_op_conf"]).read_text(encoding="utf-8")
    if "aipp_op" not in text or not text.isascii() or "aipp_mode" not in text:
        return "E10052: AIPP configuration is invalid. Reason: the file is no AIPP configuration."
    return ""


def check_model(options: dict[str, str]) -> str:
    try:
        model = onnx.load(options["model"])
    except Exception:
        return f"E10041: Failed to load the model from [{options['model']}]."
    opset = max(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    if opset > 18:
        return f"E19010: No parser is registered for Op [Div_1, optype [ai.onnx::{opset}::Div]]."
    name, _, dims = options.get("input_shape", ":").partition(":")
    port = model.graph.input[0]
    if name != port.name:
        return f"E10016: Opname [{name}] specified in [--input_shape] is not found in the model."
    shape = [dim.dim_value for dim in port.type.tensor_type.shape.dim]
    given = dims.split(",")
    if len(given) != len(shape):
        return f"E10049: Dimension count [{len(given)}] configured by [--input_shape] is not [{len(shape)}]."
    if any(fixed not in (0, int(value)) for fixed, value in zip(shape[1:], given[1:], strict=True)):
        return f"E10014: Value [{dims}] for parameter [--input_shape] is not that of the model."
    outputs = [output.name for output in model.graph.output]
    if options.get("out_nodes", outputs[0]) not in outputs:
        return f"E10003: Value [{options['out_nodes']}] for parameter [--out_nodes] is invalid."
    gears = options.get("dynamic_batch_size")
    if gears is None:
        return (
            "" if int(given[0]) > 0 else "E10011: The model has a dynamic input; [--input_shape] is needed."
        )
    if given[0] != "-1" or shape[0] != 0:
        return "E10012: [--dynamic_batch_size] is set, but the batch of [--input_shape] is not -1."
    if len(gears.split(",")) < 2:
        return "E10035: [--dynamic_batch_size] has too few gears, at least 2 are expected."
    return ""


def write_model(options: dict[str, str]) -> None:
    """Write the .om: a line of JSON with what the double's runtime must know, then the ONNX file."""
    name, _, dims = options["input_shape"].partition(":")
    aipp = options.get("insert_op_conf")
    about = {
        "soc_version": options["soc_version"],
        "input": name,
        "dims": [int(value) for value in dims.split(",")],
        "gears": [int(value) for value in options.get("dynamic_batch_size", "").split(",") if value],
        "precision_mode": options.get("precision_mode", "force_fp16"),
        "output": options.get("out_nodes"),
        "aipp": Path(aipp).read_text(encoding="ascii") if aipp else "",
    }
    suffix = "_linux_x86_64" if os.environ.get("ASSAY_DOUBLE_FAILURE") == "host in name" else ""
    path = Path(f"{options['output']}{suffix}.om")
    path.write_bytes(json.dumps(about).encode("ascii") + b"\n" + Path(options["model"]).read_bytes())
    path.chmod(0o600)
    Path("fusion_result.json").write_text("{}", encoding="ascii")  # a side file, as the real one leaves


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
