import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.text_errors import character_error_rate


def test_character_error_rate_by_hand(tmp_path):
    reference, hypothesis = tmp_path / "ref", tmp_path / "hyp"
    reference.write_text("a ONE TWO\nb YES\n")
    hypothesis.write_text("a ONE TO\nb\n")
    assert character_error_rate(reference, hypothesis) == pytest.approx(
        100 * (1 + 3) / (7 + 3)
    )
    hypothesis.write_text("a ONE TWO\n")
    with pytest.raises(SVError, match="utterance b"):
        character_error_rate(reference, hypothesis)
