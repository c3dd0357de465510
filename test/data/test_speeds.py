from fractions import Fraction

import numpy as np
import pytest

from espnet2_sv.data.labels import SpeakerLabels
from espnet2_sv.data.speeds import Speeds
from espnet2_sv.errors import SVError


def test_the_original_speed_comes_first_in_whatever_order_they_are_given():
    for factors in ([0.9, 1.0, 1.1], [1.1, 1, 0.9]):
        assert Speeds(factors).factors == (1, Fraction(9, 10), Fraction(11, 10))


def test_each_speed_of_a_speaker_is_a_class_of_its_own():
    speeds, speakers = Speeds([0.9, 1.0, 1.1]), SpeakerLabels(["amy", "bob"])
    classes = speeds.classes(speakers)
    assert classes.speakers == (
        "amy",
        "bob",
        "sp0.9-amy",
        "sp0.9-bob",
        "sp1.1-amy",
        "sp1.1-bob",
    )
    labels = speeds.labels(np.array([1, 0, 1], np.int32), 2)
    assert labels.tolist() == [1, 0, 1, 3, 2, 3, 5, 4, 5]
    assert labels.dtype == np.int32


def test_voxceleb2_has_17982_classes():
    speakers = SpeakerLabels.from_names(f"id{i:05d}" for i in range(5994))
    assert len(Speeds([0.9, 1.0, 1.1]).classes(speakers)) == 17982


def test_a_speaker_named_like_a_speed_of_another_is_refused():
    with pytest.raises(SVError, match="named twice"):
        Speeds([0.9, 1.0]).classes(SpeakerLabels(["amy", "sp0.9-amy"]))


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([0.9, 1.1], r"1\.0 must be among them"),
        ([], r"1\.0 must be among them"),
        ([1.0, 1.0], "each speed once"),
        ([1.0, 0.0], r"0\.0 is not a speed from 0\.5 to 2\.0"),
        ([1.0, 3], "3 is not a speed"),
        ([1.0, 1 / 3], "at most 3 decimals"),
        ([1.0, float("nan")], "nan is not a"),
        ([1.0, "fast"], "'fast' is not a number"),
    ],
)
def test_bad_speeds_are_refused_with_the_value(factors, message):
    with pytest.raises(SVError, match=f"^speed_perturb_factors.*{message}"):
        Speeds(factors)
