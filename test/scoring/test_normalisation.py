import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.cosine import length_normalise
from espnet2_sv.scoring.embeddings import TrialVectors
from espnet2_sv.scoring.score_norm import normalise_trials, read_cohort

RNG = np.random.default_rng(0)
COHORT = {f"c{i}": RNG.normal(size=8).astype(np.float32) for i in range(12)}
OF_COHORT = {name: f"spk{i % 3}" for i, name in enumerate(COHORT)}


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.fixture
def files(folder):
    lines = (f"{name} {speaker}" for name, speaker in OF_COHORT.items())
    return folder.embeddings("cohort", COHORT), folder.text("utt2spk", *lines)


def test_impostors_are_speaker_means_where_speakers_are_known(files):
    cohort, numbers = read_cohort(*files)
    for speaker, number in numbers.items():
        own = [unit(COHORT[name]) for name in COHORT if OF_COHORT[name] == speaker]
        np.testing.assert_allclose(
            cohort.vectors[number], unit(np.mean(own, axis=0)), atol=1e-6
        )


def test_impostors_are_utterances_otherwise(files):
    expected = np.stack([unit(v) for v in COHORT.values()])
    for cohort, _ in (read_cohort(files[0]), read_cohort(*files, by="utterance")):
        np.testing.assert_allclose(cohort.vectors, expected, atol=1e-6)


def test_mean_is_subtracted_from_impostors_too(files):
    mean = np.full(8, 0.3, np.float32)
    cohort, _ = read_cohort(files[0], mean=mean)
    np.testing.assert_allclose(cohort.vectors[4], unit(COHORT["c4"] - mean), atol=1e-6)


def test_names_a_cohort_utterance_without_speaker(files, folder):
    with pytest.raises(SVError, match=r"has no speaker for c1 \(11 are missing\)"):
        read_cohort(files[0], folder.text("few", "c0 spk0"))


def norm(files, method, names=("a", "b"), utt2spk=None, **options):
    vectors = length_normalise(np.random.default_rng(1).normal(size=(2, 8)))
    index = np.array([0, 0, 1]), np.array([1, 0, 1])
    trials = TrialVectors(vectors, vectors, *index, list(names), list(names))
    scores = np.einsum("ij,ij->i", vectors[index[0]], vectors[index[1]])
    cohort, numbers = read_cohort(*files, by="utterance")
    found = normalise_trials(
        trials, scores, cohort, numbers, utt2spk, method, **options
    )
    statistics = {}
    for i, name in enumerate(names):
        own = utt2spk[name] if utt2spk else None
        against = [
            vectors[i] @ unit(v) for c, v in COHORT.items() if OF_COHORT[c] != own
        ]
        if method == "as_norm":
            against = sorted(against)[-options["top_n"] :]
        statistics[i] = np.mean(against), np.std(against)
    sides = {"z_norm": [0], "t_norm": [1]}.get(method, [0, 1])
    expected = [
        np.mean(
            [(s - statistics[t[side]][0]) / statistics[t[side]][1] for side in sides]
        )
        for s, t in zip(scores, np.transpose(index), strict=True)
    ]
    return found, expected


@pytest.mark.parametrize("utt2spk", [None, {"a": "spk0", "b": "someone else"}])
@pytest.mark.parametrize("method", ["as_norm", "s_norm", "z_norm", "t_norm"])
def test_equals_brute_force(files, method, utt2spk):
    options = {"top_n": 5} if method == "as_norm" else {}
    found, expected = norm(files, method, utt2spk=utt2spk, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_refuses(files):
    with pytest.raises(SVError, match="has no speaker for b"):
        norm(files, "s_norm", utt2spk={"a": "spk0"})
    with pytest.raises(SVError, match="choose one of as_norm"):
        norm(files, "x_norm")
    with pytest.raises(SVError, match="at least 2 impostors"):
        norm(files, "as_norm", top_n=1)
