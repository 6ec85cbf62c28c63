"""The commands as data: what each says of itself, its place in the list, an example. Imports nothing."""

from __future__ import annotations

DESCRIPTION = (
    "Takes a pretrained image classifier to the chip it will run on, and proves how accurate and how fast it "
    "is there."
)
EPILOGUE = (
    "Try it: assay demo",
    "Your own classifier and images: assay run --weights FILE --images DIR",
    "Options of a command: assay help COMMAND. More to read: assay help topics",
)
# By module of this folder: its functions, imported when they are called.
COMMANDS = {
    "chain": {
        "run": "Do everything: export, compile, evaluate, benchmark, report.",
        "demo": "Do everything on images and weights made on the spot; no download.",
    },
    "convert": {
        "export": "Checkpoint to ONNX file, compared with torch.",
        "quantize": "Float ONNX file to int8 ONNX file, calibrated on images.",
        "compile": "ONNX file to compiled model.",
    },
    "cascade": {
        "cascade": "Two compiled models to one: one's speed, the other's answers.",
    },
    "inspect": {
        "inspect": "Say what a model file says of itself, and draw its record.",
        "init": "Write a model file's record, its open lines marked.",
    },
    "evaluate": {
        "evaluate": "Predict every image with a compiled model, and score it.",
        "merge": "Write the report of a run whose shares were computed apart.",
    },
    "predict": {
        "predict": "Predict images without labels, to CSV, JSON Lines or Parquet.",
    },
    "benchmark": {
        "benchmark": "Measure images per second and latency by batch size.",
    },
    "diagnose": {
        "diagnose": "Say why a model is less accurate than it should be.",
    },
    "agree": {
        "agree": "Compare all ways of running a model: which answer the same.",
    },
    "results": {
        "runs": "List the runs in a folder, the newest first.",
        "report": "Write a run's report anew, or one report of several runs.",
        "compare": "Compare run B with run A, or with what a record publishes.",
        "bundle": "Write a finished run into one zip file that proves its figures.",
        "verify": "Compute a bundle's figures again; fail if one differs.",
    },
    "history": {
        "history": "Keep results over time, compare with a baseline, show trends.",
    },
    "machine": {
        "doctor": "Say what is wrong with a data set, or with this machine.",
        "engines": "Say which engines run here, and how to get the others.",
        "fetch": "Download a model's weights, and check their hash.",
    },
    "index": {
        "index": "List and label a folder of images once, into a file for --images.",
    },
    "models": {
        "models": "List the models known by name, or write one's record.",
    },
    "modelzoo": {
        "preprocess": "Write each image as a .bin file, as the original script does.",
        "info": "Write the info file of a folder, a line for each file.",
        "infer": "Run a compiled model over .bin or .npy files, as ais_bench does.",
        "score": "Score a result folder, as the original script does.",
    },
    "help": {
        "help": "Show the options of a command, or a text on a topic.",
        "completion": "Print what makes a shell complete commands and options.",
    },
}
# In which order they are shown.
COMMAND_GROUPS = {
    "Start here": ("demo", "run"),
    "Step by step": (
        "fetch",
        "inspect",
        "init",
        "export",
        "quantize",
        "compile",
        "cascade",
        "evaluate",
        "predict",
        "benchmark",
        "merge",
    ),
    "Results": ("report", "compare", "runs", "history", "agree", "diagnose", "bundle", "verify"),
    "This machine, models and data": ("doctor", "engines", "models", "index"),
    "The original workflow": ("preprocess", "info", "infer", "score"),
    "Help": ("help", "completion"),
}
EXAMPLES = {
    "agree": "assay agree compiled-fp32 compiled-int8 --images val --batches 1,8",
    "benchmark": "assay benchmark compiled --batch-size 1,8 -o runs/speed",
    "bundle": "assay bundle runs/int8 int8.zip",
    "cascade": "assay cascade compiled-int8 compiled-fp32 both --images val",
    "compare": "assay compare runs/fp32 runs/int8",
    "compile": "assay compile model.onnx compiled --engine openvino",
    "demo": "assay demo",
    "diagnose": "assay diagnose runs/int8 --images val",
    "doctor": "assay doctor --images val",
    "engines": "assay engines",
    "evaluate": "assay evaluate compiled --images val -o runs/accuracy",
    "export": "assay export weights.pth model.onnx --model efficientnet_lite0",
    "help": "assay help own-classes",
    "completion": "assay completion bash >> ~/.bash_completion",
    "fetch": "assay fetch efficientnet_lite0",
    "index": "assay index train -o train.arrow",
    "history": "assay history add runs/nightly --gate no-worse-than:baseline",
    "infer": "assay infer compiled -i bins -o results",
    "info": "assay info bin bins info.txt 224 224",
    "init": "assay init model.onnx --like timm/resnet18",
    "inspect": "assay inspect model.onnx -o record.toml",
    "merge": "assay merge runs/shared",
    "models": "assay models seresnext",
    "predict": "assay predict model.onnx --images photographs -o predictions.csv",
    "preprocess": "assay preprocess val bins --model efficientnet_lite0",
    "quantize": "assay quantize model.onnx int8.onnx --calibration val",
    "report": "assay report runs/fp32 runs/int8 -o report",
    "run": "assay run --weights model.onnx --images val --model record.toml -o runs/first",
    "runs": "assay runs runs",
    "score": "assay score results val_label.txt scores",
    "verify": "assay verify int8.zip",
}
