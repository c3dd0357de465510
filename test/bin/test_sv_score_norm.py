import numpy as np
import pytest
from kaldi_reference import kaldiio

from espnet2_sv.bin.sv_score_norm import main
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.trials import read_scores

RNG = np.random.default_rng(0)
VECTORS = {f"utt{i}": RNG.normal(size=12).astype(np.float32) for i in range(6)}
COHORT = {f"c{i}": RNG.normal(size=12).astype(np.float32) for i in range(30)}


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.fixture
def normalise(tmp_path):
    """Run the command on all pairs; returns the scores by pair."""
    for name, vectors in (("x", VECTORS), ("c", COHORT)):
        kaldiio.save_ark(
            str(tmp_path / f"{name}.ark"), vectors, scp=str(tmp_path / f"{name}.scp")
        )
    pairs = [(a, b) for a in VECTORS for b in VECTORS if a < b]
    lines = [f"{a} {b} {unit(VECTORS[a]) @ unit(VECTORS[b])}\n" for a, b in pairs]
    (tmp_path / "scores").write_text("".join(lines))
    (tmp_path / "c2s").write_text(
        "".join(f"{name} spk{int(name[1:]) % 10}\n" for name in COHORT)
    )
    (tmp_path / "u2s").write_text(
        "".join(f"{name} spk{name[-1]}\n" for name in VECTORS)
    )

    def run(*options):
        scp = str(tmp_path / "x.scp")
        options = [o.replace("DIR", str(tmp_path)) for o in options]
        files = [
            "--scores",
            str(tmp_path / "scores"),
            "--enroll_scp",
            scp,
            "--test_scp",
            scp,
        ]
        cohort = [
            "--cohort_scp",
            str(tmp_path / "c.scp"),
            "--output",
            str(tmp_path / "normed"),
        ]
        main([*files, *cohort, *options])
        found = read_scores(tmp_path / "normed")
        return dict(zip(pairs, found.scores, strict=True))

    return run


def expected(a, b, impostors_of, top_n):
    result = 0
    for side in (a, b):
        scores = [unit(VECTORS[side]) @ impostor for impostor in impostors_of(side)]
        scores = sorted(scores)[-top_n:]
        result += (
            (unit(VECTORS[a]) @ unit(VECTORS[b]) - np.mean(scores)) / np.std(scores) / 2
        )
    return result


def test_utterance_cohort(normalise):
    for (a, b), score in normalise("--top_n", "7").items():
        assert score == pytest.approx(
            expected(a, b, lambda _: map(unit, COHORT.values()), 7), abs=1e-4
        )


def test_speaker_cohort_without_the_sides_own_speakers(normalise):
    means = {
        f"spk{s}": unit(
            np.mean([unit(v) for n, v in COHORT.items() if int(n[1:]) % 10 == s], 0)
        )
        for s in range(10)
    }
    found = normalise(
        "--top_n", "4", "--cohort_utt2spk", "DIR/c2s", "--utt2spk", "DIR/u2s"
    )
    for (a, b), score in found.items():

        def others(u):
            return [m for s, m in means.items() if s != f"spk{u[-1]}"]

        assert score == pytest.approx(expected(a, b, others, 4), abs=1e-4)


def test_leaving_out_needs_the_cohorts_speakers(normalise):
    with pytest.raises(SVError, match="give --cohort_utt2spk too"):
        normalise("--utt2spk", "DIR/u2s")
    with pytest.raises(SVError, match="a cohort of speakers needs its utt2spk"):
        normalise("--cohort_by", "speaker")


def test_a_cohort_with_tested_utterances_is_refused(normalise, tmp_path):
    both = "".join((tmp_path / f"{name}.scp").read_text() for name in ("c", "x"))
    (tmp_path / "c.scp").write_text(both)
    with pytest.raises(SVError, match=r"6 utterances of the cohort .* e\.g\. utt0"):
        normalise("--top_n", "7")
    own, other = "DIR/u2s", "DIR/other"
    speakers = (tmp_path / "c2s").read_text() + (tmp_path / "u2s").read_text()
    (tmp_path / "c2s").write_text(speakers)
    with pytest.raises(SVError, match="would meet themselves"):
        normalise("--cohort_utt2spk", "DIR/c2s")
    cohort = ["--cohort_utt2spk", "DIR/c2s", "--cohort_by", "utterance"]
    found = normalise("--top_n", "7", *cohort, "--utt2spk", own)
    impostors = VECTORS | COHORT

    def others(utt):  # without the speaker of the side, and so without itself
        return [
            unit(v)
            for n, v in impostors.items()
            if int(n.lstrip("uct")) % 10 != int(utt[-1])
        ]

    for (a, b), score in found.items():
        assert score == pytest.approx(expected(a, b, others, 7), abs=1e-4)
    (tmp_path / "other").write_text("".join(f"{name} x{name}\n" for name in VECTORS))
    with pytest.raises(SVError, match="their speakers there and in --utt2spk differ"):
        normalise("--top_n", "7", *cohort, "--utt2spk", other)


def test_a_cohort_with_utterances_of_enrolled_models_is_refused(normalise, tmp_path):
    (tmp_path / "spk2utt").write_text("ann utt1 c3\nbob utt2\n")
    (tmp_path / "scores").write_text("ann utt3 0.5\nbob utt3 0.1\n")
    both = (tmp_path / "x.scp").read_text() + (tmp_path / "c.scp").read_text()
    (tmp_path / "x.scp").write_text(both)
    with pytest.raises(SVError, match=r"1 utterances of the cohort .* e\.g\. c3"):
        normalise("--enroll_spk2utt", "DIR/spk2utt")
