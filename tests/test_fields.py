import dataclasses

import pytest

from hornbook.errors import InputError
from hornbook.fields import Checked, Group, unknown_setting

ONE = Group("One")


@dataclasses.dataclass(frozen=True)
class Some(Checked):
    count: int = ONE.integer(1, "A count.", low=1)
    perhaps: int | None = ONE.integer(None, "Perhaps.", low=2)
    part: float = ONE.number(0.5, "A part.", high=1, above=True, below=True)
    size: float = ONE.number(1.0, "A size.")
    word: str = ONE.choice("a", ("a", "b"), "A word.")
    on: bool = ONE.switch(False, "On.")


@pytest.mark.parametrize(
    "good",
    [
        {"count": 3},
        {"perhaps": None},
        {"perhaps": 2},
        {"part": 0.01},
        {"size": 0},
        {"size": 7},
        {"word": "b"},
        {"on": True},
    ],
)
def test_allowed(good):
    assert dataclasses.asdict(Some(**good)) == dataclasses.asdict(Some()) | good


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"count": 0}, "count must be an integer of at least 1. Received: count=0"),
        ({"count": 1.0}, "count=1.0"),
        ({"count": None}, "count=None"),
        ({"count": True}, "count=True"),
        ({"perhaps": 1}, "perhaps must be an integer of at least 2"),
        ({"part": 0}, "part must be a number above 0 to below 1. Received: part=0"),
        ({"part": 1}, "part=1"),
        ({"part": "1"}, "part=1"),
        ({"size": -1}, "size must be a number of at least 0"),
        ({"size": float("nan")}, "size=nan"),
        ({"size": float("inf")}, "size=inf"),
        ({"word": "c"}, "word must be one of a, b. Received: word=c"),
        ({"on": 1}, "on must be True or False. Received: on=1"),
        ({"counts": 1}, "did you mean count"),
    ],
)
def test_refused(bad, message):
    with pytest.raises(InputError) as error:
        Some.of(bad)
    assert message in str(error.value)


def test_numpy_integers_are_integers():
    import numpy as np

    assert Some(count=np.int64(3)).count == 3


def test_far_off_names_have_no_suggestion():
    assert unknown_setting("xyz", ["count"]) == (
        "There is no setting of that name. Received: xyz"
    )
