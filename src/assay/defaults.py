"""What is done where a user chooses nothing; the flags' help and the functions take it from here."""

from __future__ import annotations

DEFAULT_MODEL = "se_resnext50_32x4d"  # of a checkpoint, which then has to have exactly this network's tensors
DEFAULT_ENGINE = "openvino"

OPSETS = range(11, 19)  # what ATC accepts: ai.onnx opset 11 to 18 (CANN ATC manual)
DEFAULT_OPSET = OPSETS[-1]
CALIBRATION_IMAGE_COUNT = 300
DIAGNOSIS_IMAGE_COUNT = 400

DEFAULT_BATCH_SIZES = (1, 4, 8, 16, 32, 64)  # those that speed is measured at
MIN_REPEATS = 5
REPEAT_SECONDS = 1.0

DEFAULT_SHARD_SIZE = 1024
DEVICE_TIMEOUT_S = 600.0  # with several devices: to load the model, or for one batch
MAX_PIXELS = 100_000_000
MAX_FILE_MIB = 64  # of an image, and of a label file

LOADGEN_SECONDS = 60.0
SERVER_LATENCY_MS = 15.0  # MLPerf's bound for ResNet-50

STOP_ERROR = 0.001
MAX_DIFFERENT_PERCENT = 0.1  # answers that a cascade may leave other than the exact model's
DEFAULT_MARGIN_POINTS = 0.1  # of Top-1: a loss within it does not matter
SPEED_MARGIN_PERCENT = 5.0  # of the baseline's images/s: likewise
