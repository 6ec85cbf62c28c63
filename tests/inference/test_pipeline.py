from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.images.listing import LabelledImage
from assay.images.preprocessed_image import OK
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.predictions import Prediction
from assay.inference.shards import cut_shards
from assay.models.record import ModelRecord

MakeSession = Callable[..., Any]
MakeSource = Callable[..., LabelledImage]
Model = tuple[MakeSession, ModelRecord]


@pytest.fixture(scope="module")
def model(make_session: MakeSession, small_record: ModelRecord) -> Model:
    return make_session, small_record


def ignore_batch(_predictions: Sequence[Prediction]) -> None:
    pass


def make_images(make_source: MakeSource, count: int, bad: Sequence[int] = ()) -> list[LabelledImage]:
    """Return images of which number n is of class n mod 16, but for the bad ones."""
    return [make_source(f"{n:03d}", None if n in bad else 16 * (n % 16), label=n % 16) for n in range(count)]


@settings(max_examples=25)
@given(
    count=st.integers(0, 40),
    bad=st.sets(st.integers(0, 39)),
    sizes=st.tuples(st.integers(1, 45), st.integers(1, 12), st.integers(1, 3)),
    takes_pixels=st.booleans(),
)
def test_predictions_do_not_depend_on_batches_shards_and_threads(
    count: int,
    bad: set[int],
    sizes: tuple[int, int, int],
    takes_pixels: bool,
    model: Model,
    make_source: MakeSource,
) -> None:
    shard_size, batch_size, concurrency = sizes
    shards = cut_shards(make_images(make_source, count, sorted(bad)), shard_size)
    make_session, small_record = model
    session = make_session(concurrency, takes_pixels=takes_pixels)
    options = PipelineOptions(batch_size=batch_size, decode_threads=2)
    done = list(predict_shards(session, shards, small_record, options, ignore_batch))
    assert [shard for shard, _ in done] == shards
    assert [len(predictions) for _, predictions in done] == [len(shard.images) for shard in shards]
    predictions = [prediction for _, part in done for prediction in part]
    assert [prediction.name for prediction in predictions] == [f"{n:03d}" for n in range(count)]
    for n, prediction in enumerate(predictions):
        if n in bad:
            assert prediction.status.startswith("not decodable")
            assert prediction.top_classes == ()
        else:
            assert (prediction.status, prediction.top_classes[0]) == (OK, n % 16)
            assert prediction.top_logits[0] == pytest.approx(0, abs=1e-4)


def test_the_session_sees_no_more_images_and_calls_at_once_than_it_may(
    make_session: MakeSession, make_source: MakeSource, small_record: ModelRecord
) -> None:
    session = make_session(2)
    shards = cut_shards(make_images(make_source, 50), 20)
    list(predict_shards(session, shards, small_record, PipelineOptions(batch_size=8), ignore_batch))
    assert session.most_calls_at_once <= 2
    # no batch reaches over the end of a shard: 20 = 8 + 8 + 4, 10 = 8 + 2
    assert sorted(session.batch_sizes) == sorted([8, 8, 4, 8, 8, 4, 8, 2])


def test_a_batch_of_failures_does_not_reach_the_session(
    make_session: MakeSession, make_source: MakeSource, small_record: ModelRecord
) -> None:
    session = make_session()
    shards = cut_shards(make_images(make_source, 6, bad=[2, 3]), 6)
    ((_, predictions),) = predict_shards(
        session, shards, small_record, PipelineOptions(batch_size=2), ignore_batch
    )
    assert session.batch_sizes == [2, 2]
    assert [prediction.status == OK for prediction in predictions] == [True, True, False, False, True, True]


def test_all_images_may_fail(
    make_session: MakeSession, make_source: MakeSource, small_record: ModelRecord
) -> None:
    shards = cut_shards(make_images(make_source, 3, bad=[0, 1, 2]), 3)
    ((_, predictions),) = predict_shards(
        make_session(), shards, small_record, PipelineOptions(batch_size=2), ignore_batch
    )
    assert [prediction.status == OK for prediction in predictions] == [False] * 3


def test_every_prediction_is_reported_once_in_order(
    make_session: MakeSession, make_source: MakeSource, small_record: ModelRecord
) -> None:
    reported: list[Prediction] = []
    shards = cut_shards(make_images(make_source, 30, bad=[4]), 11)
    done = list(
        predict_shards(make_session(2), shards, small_record, PipelineOptions(batch_size=4), reported.extend)
    )
    assert reported == [prediction for _, predictions in done for prediction in predictions]


def test_logits_are_kept_where_asked_for(
    make_session: MakeSession, make_source: MakeSource, small_record: ModelRecord
) -> None:
    shards = cut_shards(make_images(make_source, 5), 5)
    options = PipelineOptions(batch_size=2, keep_logits=True)
    ((_, predictions),) = predict_shards(make_session(), shards, small_record, options, ignore_batch)
    for n, prediction in enumerate(predictions):
        expected = -16 * np.abs(n - np.arange(16))
        np.testing.assert_allclose(np.asarray(prediction.logits), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_memory_does_not_grow_with_the_number_of_images(
    concurrency: int, make_session: MakeSession, make_source: MakeSource, small_record: ModelRecord
) -> None:
    lock = threading.Lock()
    read = reported = most_held = 0

    def count_read() -> None:
        nonlocal read, most_held
        with lock:
            read += 1
            most_held = max(most_held, read - reported)

    def count_reported(predictions: Sequence[Prediction]) -> None:
        nonlocal reported
        with lock:
            reported += len(predictions)

    batch_size = 4
    images = [make_source(f"{n:03d}", 0, on_read=count_read) for n in range(200)]
    options = PipelineOptions(batch_size=batch_size, decode_threads=4)
    shards = cut_shards(images, 64)
    list(predict_shards(make_session(concurrency), shards, small_record, options, count_reported))
    # decoded ahead, in or before the session, and the batch that is being handed over
    assert most_held <= batch_size * (2 * (concurrency + 1) + 1) + 1
    assert read == reported == 200


def test_an_error_of_the_session_reaches_the_caller(
    make_session: MakeSession, make_source: MakeSource, small_record: ModelRecord
) -> None:
    session = make_session()

    def fail(_images: object) -> None:
        raise RuntimeError("the device is gone")

    session.run = fail
    shards = cut_shards(make_images(make_source, 40), 40)
    with pytest.raises(RuntimeError, match="the device is gone"):
        list(predict_shards(session, shards, small_record, PipelineOptions(batch_size=4), ignore_batch))


def test_a_caller_that_stops_early_leaves_no_thread_behind(
    make_session: MakeSession, make_source: MakeSource, small_record: ModelRecord
) -> None:
    before = threading.active_count()
    shards = cut_shards(make_images(make_source, 60), 10)
    parts = predict_shards(make_session(), shards, small_record, PipelineOptions(batch_size=4), ignore_batch)
    next(parts)
    parts.close()  # type: ignore[attr-defined]  # the iterator is a generator
    assert threading.active_count() == before


def test_as_many_threads_decode_as_there_are_processors_unless_told() -> None:
    assert PipelineOptions(batch_size=1).count_decode_threads() == len(os.sched_getaffinity(0))
    assert PipelineOptions(batch_size=1, decode_threads=3).count_decode_threads() == 3
