"""The splits that are drawn depend on the seed and the labels as they should."""

import numpy as np
import pytest

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.examples import Examples, Found
from hornbook.zoo.data.splits import draw_dataset


def found(*splits, **counts):
    """A source with so many images of each class in each split."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    made = {}
    for split in splits or ("train",):
        images = rng.integers(0, 256, (len(labels), 8, 8, 3), dtype="uint8")
        names = tuple(f"{split}[{place}]" for place in range(len(labels)))
        made[split] = Examples(images, labels, names)
    return Found(tuple(counts), made)


def draw(source, **options):
    return draw_dataset("npz:made", source, **options)


def refused(source, **options):
    with pytest.raises(InputError) as caught:
        draw(source, **options)
    return str(caught.value)


def parts(dataset):
    return [
        p for p in (dataset.train, dataset.validation, dataset.test) if p is not None
    ]


def names(*splits):
    return sorted(name for split in splits for name in split.names)


@pytest.fixture
def source():
    return found(a=50, b=20, c=13)


def test_a_fifth_of_each_class(source):
    dataset = draw(source)
    counts = [np.bincount(part.labels).tolist() for part in parts(dataset)]
    # 20 % of 50, 20, 13 to test on; then 20 % of 40, 16, 10 to validate on.
    assert counts == [[32, 13, 8], [8, 3, 2], [10, 4, 3]]
    assert len(set(names(*parts(dataset)))) == 83
    assert [n.split(":")[0] for n in dataset.notices] == [
        "There is no test split",
        "There is no validation split",
    ]
    assert "17 examples" in dataset.notices[0]
    assert "13 of the 66 labelled" in dataset.notices[1]


def test_seed(source):
    one, same, other = (draw(source, seed=seed) for seed in (3, 3, 4))
    for part, same_part in zip(parts(one), parts(same), strict=True):
        assert part.names == same_part.names
        assert (part.images == same_part.images).all()
    assert one.validation.names != other.validation.names
    assert one.test.names == other.test.names  # so that seeds can be compared


def test_the_test_split_ignores_how_many_labels_there_are(source):
    every, few = draw(source), draw(source, labels_per_class=4)
    assert every.test.names == few.test.names
    drawn = draw(source, labels_per_class=4, seed=1)
    assert drawn.train.names != few.train.names


@pytest.mark.parametrize(
    ("labels", "train", "validation"), [(1, 1, 0), (9, 9, 0), (10, 8, 2)]
)
def test_labels_per_class_counts_validation(source, labels, train, validation):
    dataset = draw(source, labels_per_class=labels)
    assert np.bincount(dataset.train.labels).tolist() == [train] * 3
    if validation:
        assert np.bincount(dataset.validation.labels).tolist() == [validation] * 3
    else:
        assert dataset.validation is None
        assert f"with {labels} labels" in dataset.notices[-1]
        assert "fixed budget" in dataset.notices[-1]
    assert not set(names(*parts(dataset)[:-1])) & set(dataset.test.names)


def test_more_labels_than_there_are(source):
    complaint = refused(source, labels_per_class=11)
    assert complaint.startswith("Class c has 10 training labels")
    assert complaint.endswith("Received: labels_per_class=11")


def test_at_least_one_of_each_class_is_tested():
    dataset = draw(found(a=40, b=2, c=2))
    assert np.bincount(dataset.test.labels).tolist() == [8, 1, 1]
    assert np.bincount(dataset.train.labels).tolist() == [32, 1, 1]


def test_source_validation_is_kept_whole():
    whole = found("train", "test", "validation", a=12, b=12)
    dataset = draw(whole, labels_per_class=10)
    assert [len(part) for part in parts(dataset)] == [20, 24, 24]
    assert dataset.notices == ()
