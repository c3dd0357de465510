import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.quality import QualityFiles, QualityMeasures
from espnet2_sv.scoring.trials import read_trials

RNG = np.random.default_rng(0)
VECTORS = {name: RNG.normal(size=8).astype(np.float32) for name in "abcde"}
COHORT = {f"c{i}": RNG.normal(size=8).astype(np.float32) for i in range(9)}


@pytest.fixture
def pairs(folder):
    return read_trials(
        folder.text("trials", "a b target", "c b nontarget", "a d nontarget")
    )


def test_durations_come_from_all_files(folder, pairs):
    files = [folder.text("d1", "a 1.5", "b 2"), folder.text("d2", "c 3", "d 4", "b 2")]
    found = QualityMeasures(QualityFiles(utt2dur=files))(pairs, "trials")
    assert {k: [side.tolist() for side in v] for k, v in found.items()} == {
        "duration": [[1.5, 3, 1.5], [2, 2, 4]]
    }


def test_magnitudes_and_cohort_means(folder, pairs):
    scp, cohort = folder.embeddings("x", VECTORS), folder.embeddings("c", COHORT)
    files = QualityFiles(enroll_scp=[scp], test_scp=[scp], cohort_scp=cohort, top_n=4)
    found = QualityMeasures(files)(pairs, "trials")
    norms = {name: np.linalg.norm(vector) for name, vector in VECTORS.items()}
    np.testing.assert_allclose(
        found["magnitude"][0], [norms[n] for n in "aca"], rtol=1e-6
    )
    np.testing.assert_allclose(
        found["magnitude"][1], [norms[n] for n in "bbd"], rtol=1e-6
    )
    against = [
        VECTORS["d"] @ v / norms["d"] / np.linalg.norm(v) for v in COHORT.values()
    ]
    assert found["cohort_mean"][1][2] == pytest.approx(
        np.mean(sorted(against)[-4:]), abs=1e-6
    )


def test_durations_of_a_model_are_added(folder, pairs):
    scp = folder.embeddings("x", VECTORS)
    seconds = folder.text("utt2dur", *(f"{n} {i + 1}" for i, n in enumerate("abcde")))
    models = folder.text("spk2utt", "a e c")
    files = QualityFiles([seconds], [scp], [scp], enroll_spk2utt=models)
    found = QualityMeasures(files)(pairs, "trials")
    assert found["duration"][0].tolist() == [5 + 3, 3, 5 + 3]
    mean = (np.linalg.norm(VECTORS["e"]) + np.linalg.norm(VECTORS["c"])) / 2
    assert found["magnitude"][0][0] == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize(
    "lines, message",
    [
        (("a 1", "b 1", "c 1"), "utt2dur: has no d, which is in my trials"),
        (("a 1", "b 1", "c 1", "d long"), "d has 'long', expected seconds"),
        (("a 1", "b 1", "c 1", "d 0"), "d lasts 0.0 s"),
    ],
)
def test_names_bad_durations(folder, pairs, lines, message):
    measures = QualityMeasures(QualityFiles(utt2dur=[folder.text("utt2dur", *lines)]))
    with pytest.raises(SVError, match=message):
        measures(pairs, "my trials")


def test_refuses_incomplete_files(folder):
    scp = folder.embeddings("x", VECTORS)
    with pytest.raises(SVError, match="magnitudes need embeddings of both sides"):
        QualityMeasures(QualityFiles(enroll_scp=[scp]))
    with pytest.raises(SVError, match="cohort means need embeddings of both sides"):
        QualityMeasures(QualityFiles(cohort_scp=scp))
