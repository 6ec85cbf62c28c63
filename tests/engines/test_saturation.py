"""An int8 model whose sums a processor clips is not run there without a word."""

from __future__ import annotations

import pytest

from assay.engines import saturation
from assay.engines.compiled_model import CompiledModel
from assay.engines.saturation import clips_sums, note_saturation
from brightness_classifier import make_brightness_record


def make_compiled(weight_range: str | None, device: str = "CPU", precision: str = "int8") -> CompiledModel:
    return CompiledModel(
        engine="openvino",
        engine_version="1",
        device=device,
        precision=precision,
        batch_size=None,
        source_files={},
        files={},
        model=make_brightness_record(),
        weight_range=weight_range,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("is_exact", "weight_range", "words"),
    [
        (False, "full", "has no VNNI: it clips sums"),
        (None, "full", "if this processor has no VNNI"),
        (False, "unknown", "cannot be told"),
        (False, None, "cannot be told"),  # compiled by an older assay
        (False, "half", None),
        (True, "full", None),
    ],
)
def test_it_says_what_the_processor_and_the_weights_give_reason_to(
    monkeypatch: pytest.MonkeyPatch, is_exact: bool | None, weight_range: str | None, words: str | None
) -> None:
    monkeypatch.setattr(saturation, "sums_int8_exactly", lambda: is_exact)
    notes = note_saturation(make_compiled(weight_range))
    assert (words is None and not notes) or (words is not None and words in notes[0])
    assert clips_sums(make_compiled(weight_range)) == (is_exact is False and weight_range == "full")


@pytest.mark.parametrize(("device", "precision"), [("GPU", "int8"), ("ascend310p", "int8"), ("CPU", "fp32")])
def test_other_devices_and_float_models_are_not_concerned(
    monkeypatch: pytest.MonkeyPatch, device: str, precision: str
) -> None:
    monkeypatch.setattr(saturation, "sums_int8_exactly", lambda: False)
    assert note_saturation(make_compiled("full", device, precision)) == []
