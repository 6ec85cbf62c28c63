from __future__ import annotations

import numpy as np

from assay.diagnose.label_maps import LabelMap, list_label_maps
from assay.images.labels import read_devkit_labels
from assay.models.record import OutputTensor

THOUSAND = OutputTensor(name="class", class_count=1000)


def fit(classes: np.ndarray, labels: np.ndarray, output: OutputTensor = THOUSAND) -> LabelMap:
    """The map that is found where the network answers these classes, but every eighth time another."""
    answers = classes.copy()
    answers[::8] = (answers[::8] + 37) % output.class_count
    maps = list_label_maps(max(output.class_count - output.label_offset, 1 + int(labels.max())), output)
    return maps.find(answers, labels, maps.given)


def draw_classes(count: int = 100, class_count: int = 1000) -> np.ndarray:
    return np.sort(np.random.default_rng(5).permutation(class_count)[:count])


def test_labels_as_recorded_keep_their_map() -> None:
    classes = draw_classes()
    found = fit(classes, classes)
    assert (found.factor, found.value) == ("label_offset", 0)


def test_labels_from_one_are_a_shift_also_where_the_last_is_no_class_of_the_record() -> None:
    classes = np.append(draw_classes(), 999)
    assert fit(classes, classes + 1).value == -1


def test_a_class_that_the_labels_lack_is_found_between_the_labels_around_it() -> None:
    classes = draw_classes()
    labels = classes - (classes > 299)
    found = fit(classes, labels)
    is_right = found.classes[labels] == classes
    assert found.factor == "label_offset"
    assert is_right.sum() >= 98
    last, first = labels[classes <= 299].max(), labels[classes > 299].min()
    assert f"+0 for labels 0 to {last}, +1 for labels {first} to 999" in str(found.value) or is_right.all()


def test_labels_between_two_images_where_a_class_is_lacking_mean_no_class() -> None:
    classes = np.concatenate([np.arange(0, 300, 6), np.arange(600, 1000, 8)])
    found = fit(classes, classes - (classes > 299))
    assert set(found.classes[300:590].tolist()) == {-1}


def test_ids_of_the_devkit_are_known_counted_from_0_or_from_1() -> None:
    ids = {label: place for place, label in enumerate(read_devkit_labels())}
    classes = draw_classes()
    labels = np.array([ids[int(one)] for one in classes])
    assert fit(classes, labels).value == "ILSVRC2012 IDs"
    assert fit(classes, labels + 1).value == "ILSVRC2012 IDs, counted from 1"


def test_a_background_class_that_the_record_does_not_know_is_an_offset_of_1() -> None:
    classes = draw_classes()
    assert fit(classes + 1, classes, OutputTensor(name="class", class_count=1001)).value == 1


def test_a_random_order_fits_no_map() -> None:
    classes = draw_classes(400)
    found = fit(classes, np.random.default_rng(1).permutation(1000)[classes])
    assert (found.factor, found.value) == ("label_offset", 0)


def test_the_order_of_three_classes_is_read_off_the_answers() -> None:
    labels = np.arange(60) % 3
    found = fit(np.array([2, 0, 1])[labels], labels, OutputTensor(name="class", class_count=3))
    assert found.factor == "label_order"
    assert found.classes[:3].tolist() == [2, 0, 1]


def test_answers_by_chance_fit_no_map_of_three_classes() -> None:
    output = OutputTensor(name="class", class_count=3)
    maps = list_label_maps(3, output)
    rng = np.random.default_rng(2)
    for _ in range(200):
        assert maps.find(rng.integers(0, 3, 60), rng.integers(0, 3, 60), maps.given) is maps.given


def test_shifts_of_tens_of_thousands_of_classes_take_no_table() -> None:
    output = OutputTensor(name="class", class_count=21841)
    classes = draw_classes(100, 21841)
    assert fit(classes, classes + 1, output).value == -1
