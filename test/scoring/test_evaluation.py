import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.evaluation import Groups, breakdown, read_attribute
from espnet2_sv.scoring.metrics import describe
from espnet2_sv.scoring.trials import Trials, read_trials


def values(groups: Groups) -> list[str]:
    return np.array(groups.names)[groups.index].tolist()


@pytest.fixture
def trials(folder):
    return read_trials(
        folder.text("trials", "a b target", "b c nontarget", "c a nontarget")
    )


def test_of_trials_in_any_order(folder, trials):
    path = folder.text("condition", "c a noisy", "x y other", "a b clean", "b c noisy")
    assert values(read_attribute(path, trials)) == ["clean", "noisy", "noisy"]


def test_of_utterances_names_both_sides(folder, trials):
    path = folder.text("utt2gender", "a f", "b f", "c m")
    assert values(read_attribute(path, trials)) == ["f", "f / m", "f / m"]


def test_many_numbers_become_quartiles_of_the_smaller_side(folder):
    names = [f"u{i:02d}" for i in range(40)]
    trials = Trials(
        names, names, np.arange(40), np.arange(40)[::-1], np.arange(40) < 20
    )
    path = folder.text("utt2dur", *(f"{name} {i}" for i, name in enumerate(names)))
    groups = read_attribute(path, trials)
    assert groups.names == ["0 to 4.75", "4.75 to 9.5", "9.5 to 14.25", "14.25 to 19"]
    assert np.bincount(groups.index).tolist() == [10, 10, 10, 10]
    assert groups.index[[0, 39, 19]].tolist() == [0, 0, 3]


@pytest.mark.parametrize(
    "lines, message",
    [
        (("a f", "b f"), "has no value for trial 2, 'b c' .2 are missing"),
        (("a b x", "b c x"), "has no value for trial 3, 'c a' .1 are missing"),
        (("a b x", "b c x", "c a"), "line 3 is 'c a', not 'enroll_utt test_utt value'"),
    ],
)
def test_names_what_is_missing(folder, trials, lines, message):
    with pytest.raises(SVError, match=message):
        read_attribute(folder.text("attribute", *lines), trials)


def test_refuses_values_that_form_no_groups(folder):
    names = [f"u{i}" for i in range(150)]
    trials = Trials(names, names, np.arange(150), np.arange(150), np.arange(150) < 20)
    with pytest.raises(
        SVError, match=r"more than 20 different values, of which .* is not a"
    ):
        read_attribute(
            folder.text("utt2x", *(f"{name} x{name}" for name in names)), trials
        )
    lines = (f"{name} {name} x{name}" for name in names)
    with pytest.raises(SVError, match="150 different values"):
        read_attribute(folder.text("x", *lines), trials)
    with pytest.raises(SVError, match="cannot be read"):
        read_attribute(folder.root / "ghost", trials)


def test_breakdown_describes_each_group():
    rng = np.random.default_rng(0)
    labels = rng.random(300) < 0.5
    scores = rng.normal(size=300) + labels
    index = np.arange(300) % 3
    index[(index == 2) & labels] = 0
    found = breakdown(scores, labels, Groups(["x", "y", "z"], index))
    assert found["y"] == describe(scores[index == 1], labels[index == 1])
    assert found["z"]["eer"] is None
    assert "error rates need both" in found["z"]["reason"]
