"""ReaL labels and the figures made of them belong together: the file's hash goes with them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from assay.images.real_labels import read_real_labels
from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import measure_real_accuracy
from assay.report.sentences import describe_real


def test_accuracy_by_real_labels_says_which_file_of_them(tmp_path: Path) -> None:
    image = Prediction(
        name="ILSVRC2012_val_00000001.JPEG",
        relative_path="ILSVRC2012_val_00000001.JPEG",
        label=65,
        status="ok",
        top_classes=(7, 65),
        top_logits=(2.0, 1.0),
    )
    hits = {}
    for name, classes in (("one", [[7]]), ("other", [[65]])):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(classes + [[]] * 49_999))
        real = measure_real_accuracy([image], read_real_labels(path))
        assert real is not None
        assert real.labels_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert real.labels_sha256[:12] in describe_real(real)[-1]
        hits[name] = real.accuracy.top1.hits
    assert hits == {"one": 1, "other": 0}
