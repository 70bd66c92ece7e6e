import dataclasses

import pytest

from hornbook.errors import InputError
from hornbook.zoo.runs.config import Job


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 1),
        ("batch_size", 0),
        ("labels_per_class", 0),
        ("seed", -1),
        ("rate", 0.0),
        ("rate", float("nan")),
        ("rate", float("inf")),
        ("rate", "fast"),
        ("rate", None),
        ("backbone_rate", -0.1),
        ("backbone_rate", 1.5),
        ("augment", "heavy"),
        ("views", "seven"),
        ("merge", "median"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=rf"^{name} must be.*Received: {name}="):
        Job(**{name: value})


def test_the_rate_may_be_left_to_be_found():
    assert Job(rate="auto").rate == "auto"


def test_a_job_comes_back_from_its_config():
    job = Job(labels_per_class=7, views="ten", rate=0.01)
    assert Job.from_config({**dataclasses.asdict(job), "classes": ["a"]}) == job


def test_a_run_from_before_augmentation_could_be_chosen_opens():
    config = dataclasses.asdict(Job())
    del config["augment"]
    assert Job.from_config(config).augment == "none"


def test_a_run_from_before_processes_could_be_several_had_one():
    config = dataclasses.asdict(Job())
    del config["processes"]
    assert Job.from_config(config).is_plain
    assert not Job(processes=2).is_plain


def test_the_presets_are_those_of_the_recipe():
    from hornbook.recipes.augmentation.image_augmentation import PRESETS
    from hornbook.zoo.runs.config import AUGMENTS

    assert set(AUGMENTS) == {"none", *PRESETS}
