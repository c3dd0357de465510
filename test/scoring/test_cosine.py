import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.cosine import cosine_scores, length_normalise


def test_equals_a_loop_in_double_precision():
    rng = np.random.default_rng(0)
    enroll, test = rng.normal(size=(40, 256)) * 30, rng.normal(size=(50, 256)) + 0.2
    i, j = rng.integers(0, 40, 4999), rng.integers(0, 50, 4999)
    expected = [
        enroll[a] @ test[b] / np.linalg.norm(enroll[a]) / np.linalg.norm(test[b])
        for a, b in zip(i, j, strict=True)
    ]
    found = cosine_scores(enroll.astype(np.float32), test.astype(np.float32), i, j)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_input_is_left_alone():
    embeddings = np.full((2, 4), 3, np.float32)
    cosine_scores(embeddings, embeddings, [0], [1])
    assert (embeddings == 3).all()


@pytest.mark.parametrize(
    "value, word", [(0, "zero"), (np.nan, "NaN or Inf"), (np.inf, "NaN or Inf")]
)
def test_refuses_embeddings_without_direction(value, word):
    embeddings = np.ones((3, 4), np.float32)
    embeddings[1] = value
    with pytest.raises(SVError, match=f"row 1 is {word}"):
        length_normalise(embeddings)


def test_refuses_two_dimensions():
    with pytest.raises(SVError, match="the same dimension"):
        cosine_scores(np.ones((2, 4)), np.ones((2, 5)), [0], [0])
