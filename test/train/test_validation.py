import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.train.validation import verification_stats


@pytest.fixture
def trials(tmp_path):
    path = tmp_path / "trials"
    path.write_text("a b target\nc d target\na c nontarget\nb d nontarget\n")
    return str(path)


def test_separated_speakers_have_an_eer_of_0(trials):
    vectors = {"a": [1.0, 0.1], "b": [3.0, 0.0], "c": [0.0, 2.0], "d": [-0.1, 1.0]}
    stats = verification_stats(trials, {k: np.float32(v) for k, v in vectors.items()})
    assert stats["eer"] == 0.0
    assert stats["mindcf_p01"] == 0.0
    assert stats["nontarget_mean"] < stats["eer_threshold"] <= 1.0
    assert stats["n_trials"] == 4


def test_swapped_speakers_have_an_eer_of_100(trials):
    vectors = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [1.0, 0.0], "d": [0.0, 1.0]}
    stats = verification_stats(trials, {k: np.float32(v) for k, v in vectors.items()})
    assert stats["eer"] == 100.0


def test_a_non_finite_embedding_is_named(trials):
    vectors = {k: np.ones(2, np.float32) for k in "abcd"}
    vectors["c"][0] = np.nan
    with pytest.raises(SVError, match="embedding of c is not finite"):
        verification_stats(trials, vectors)
