import json

import numpy as np
import pytest

from espnet2_sv.bin.sv_calibrate import main
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.calibration import Calibration
from espnet2_sv.scoring.trials import read_scores


@pytest.fixture
def files(tmp_path):
    """Scores that are a known map of log-likelihood ratios and durations."""
    rng = np.random.default_rng(0)
    seconds = {
        f"{side}{i:04d}": rng.uniform(1, 9) for i in range(4000) for side in "et"
    }
    (tmp_path / "utt2dur").write_text("".join(f"{k} {v}\n" for k, v in seconds.items()))
    llrs = {}
    for part, rows in (("train", range(3000)), ("test", range(3000, 4000))):
        trials, scores = [], []
        for i in rows:
            target = i % 3 == 0
            llr = rng.normal(3 if target else -3, np.sqrt(6))
            a, b = f"e{i:04d}", f"t{i:04d}"
            llrs[a] = llr
            score = 0.1 * llr + 0.2 + 0.1 * np.log(min(seconds[a], seconds[b]))
            trials.append(f"{a} {b} {'target' if target else 'nontarget'}\n")
            scores.append(f"{a} {b} {score}\n")
        (tmp_path / f"{part}_trials").write_text("".join(trials))
        (tmp_path / f"{part}_scores").write_text("".join(scores))
    return tmp_path, llrs


def calibrate(root, *options):
    options = [option.replace("DIR", str(root)) for option in options]
    main(["--scores", f"{root}/test_scores", "--output", f"{root}/out/llrs", *options])
    return read_scores(root / "out/llrs")


TRAINING = ["--train_scores", "DIR/train_scores", "--train_trials", "DIR/train_trials"]


def test_llrs_of_other_trials_are_recovered(files):
    root, llrs = files
    found = calibrate(root, *TRAINING, "--utt2dur", "DIR/utt2dur")
    np.testing.assert_allclose(found.scores, [llrs[a] for a in found.enroll], atol=1.5)
    assert np.corrcoef(found.scores, [llrs[a] for a in found.enroll])[0, 1] > 0.999
    content = json.loads((root / "out/calibration.json").read_text())
    assert content["info"]["n_target"] == 1000
    assert content["info"]["score_kind"] == "cosine"


def test_a_stored_calibration_gives_the_same(files):
    root, _ = files
    first = calibrate(root, *TRAINING).scores
    stored = root / "stored.json"
    (root / "out/calibration.json").rename(stored)
    assert (calibrate(root, "--calibration", str(stored)).scores == first).all()
    expected = Calibration.load(stored).llr(read_scores(root / "test_scores").scores)
    np.testing.assert_allclose(first, expected)


def test_refuses(files):
    root, _ = files
    with pytest.raises(SVError, match="give --train_scores and --train_trials"):
        calibrate(root, *TRAINING[:2])
    with pytest.raises(SVError, match="1 --scores for 2 --output"):
        calibrate(root, "--output", "a", "b")
    calibrate(root, *TRAINING, "--utt2dur", "DIR/utt2dur")
    with pytest.raises(SVError, match="trained with duration"):
        calibrate(root, "--calibration", "DIR/out/calibration.json")
