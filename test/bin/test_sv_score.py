import numpy as np
import pytest
from kaldi_reference import kaldiio

from espnet2_sv.bin.sv_score import main
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.trials import read_scores


@pytest.fixture
def files(tmp_path):
    """Trials over twenty random embeddings, written by kaldiio."""
    rng = np.random.default_rng(0)
    vectors = {f"utt{i:02d}": rng.normal(size=24).astype(np.float32) for i in range(20)}
    kaldiio.save_ark(str(tmp_path / "x.ark"), vectors, scp=str(tmp_path / "x.scp"))
    lines = [
        f"{a} {b} {'target' if a[-1] == b[-1] else 'nontarget'}"
        for a in vectors
        for b in vectors
    ]
    (tmp_path / "trials").write_text("\n".join(lines) + "\n")
    return tmp_path, vectors


def score(root, *options, trials="trials"):
    scp = str(root / "x.scp")
    files = ["--trials", str(root / trials), "--enroll_scp", scp, "--test_scp", scp]
    main([*files, "--output", str(root / "out" / "scores"), *options])
    return read_scores(root / "out" / "scores")


def test_scores_equal_a_loop_in_double_precision(files):
    root, vectors = files
    found = score(root)
    unit = {
        name: v.astype(float) / np.linalg.norm(v.astype(float))
        for name, v in vectors.items()
    }
    expected = [
        unit[a] @ unit[b] for a, b in zip(found.enroll, found.test, strict=True)
    ]
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    lines = (root / "trials").read_text().splitlines()
    assert [f"{a} {b}" for a, b in zip(found.enroll, found.test, strict=True)] == [
        line.rsplit(" ", 1)[0] for line in lines
    ]


def test_models_enrol(files):
    root, vectors = files
    (root / "models").write_text("ann utt00 utt01\nbob utt02\n")
    (root / "trials").write_text("ann utt05 target\nbob utt06 nontarget\n")
    options = ["--enroll_spk2utt", str(root / "models"), "--enroll_mode", "mean_score"]
    unit = {name: v / np.linalg.norm(v) for name, v in vectors.items()}
    expected = [
        (unit["utt00"] + unit["utt01"]) @ unit["utt05"] / 2,
        unit["utt02"] @ unit["utt06"],
    ]
    np.testing.assert_allclose(score(root, *options).scores, expected, atol=1e-6)


def test_unknown_utterance_stops_and_writes_nothing(files):
    root, _ = files
    (root / "more").write_text("utt00 ghost target\n")
    with pytest.raises(SVError, match=r"no embedding for ghost, which .*more needs"):
        score(root, trials="more")
    assert not (root / "out").exists()
