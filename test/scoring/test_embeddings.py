import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.cosine import row_products
from espnet2_sv.scoring.embeddings import read_embeddings, read_trial_vectors
from espnet2_sv.scoring.trials import read_trials

RNG = np.random.default_rng(0)
VECTORS = {f"utt{i}": RNG.normal(size=7).astype(np.float32) for i in range(5)}


def test_reads_what_kaldiio_wrote(folder):
    names, found = read_embeddings(folder.embeddings("x", VECTORS))
    assert names == list(VECTORS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.stack(list(VECTORS.values())))


def test_reads_the_names_asked_for_in_that_order(folder):
    _, found = read_embeddings(folder.embeddings("x", VECTORS), ["utt3", "utt0"])
    np.testing.assert_array_equal(found, [VECTORS["utt3"], VECTORS["utt0"]])


def test_reads_doubles(folder):
    doubles = {k: v.astype(np.float64) for k, v in VECTORS.items()}
    _, found = read_embeddings(folder.embeddings("d", doubles))
    np.testing.assert_array_equal(found, np.stack(list(VECTORS.values())))


def test_several_files_are_searched_in_turn(folder):
    first = folder.embeddings("a", {"utt0": np.ones(7, np.float32)})
    _, found = read_embeddings(
        [first, folder.embeddings("b", VECTORS)], ["utt4", "utt0"]
    )
    np.testing.assert_array_equal(found, [VECTORS["utt4"], np.ones(7)])


@pytest.mark.parametrize(
    "value, message",
    [
        (np.zeros(7, np.float32), "the embedding of utt1 is zero"),
        (np.full(7, np.nan, np.float32), "the embedding of utt1 is NaN or Inf"),
        (
            np.ones(6, np.float32),
            "the embedding of utt1 has 6 dimensions, that of utt0 has 7",
        ),
        (np.ones((2, 7), np.float32), "line 2: .* utt1 is a matrix of 2 x 7"),
    ],
)
def test_names_the_bad_embedding(folder, value, message):
    with pytest.raises(SVError, match=message):
        read_embeddings(folder.embeddings("x", VECTORS | {"utt1": value}))


def test_names_what_is_missing(folder):
    with pytest.raises(SVError, match="no embedding for ghost, which my trials needs"):
        read_embeddings(folder.embeddings("x", VECTORS), ["utt1", "ghost"], "my trials")
    with pytest.raises(SVError, match="is empty"):
        read_embeddings(folder.text("empty.scp"))


def test_truncated_and_missing_archives(folder):
    scp = folder.embeddings("x", VECTORS)
    archive = folder.root / "x.ark"
    archive.write_bytes(archive.read_bytes()[:-3])
    with pytest.raises(SVError, match=r"the embedding of utt4 .* cannot be read"):
        read_embeddings(scp)
    archive.unlink()
    with pytest.raises(
        SVError, match=r"the embedding of utt0 .* cannot be read: .*No such file"
    ):
        read_embeddings(scp)


UTTERANCES = {f"utt{i}": RNG.normal(size=6).astype(np.float32) for i in range(6)}


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def score(folder, lines, enroll, test=None, **options):
    path = folder.text("trials", *lines)
    vectors = read_trial_vectors(
        read_trials(path), enroll, test or enroll, path, **options
    )
    return row_products(
        vectors.enroll, vectors.test, vectors.enroll_index, vectors.test_index
    )


LINES = ("utt0 utt1 target", "utt3 utt1 nontarget", "utt1 utt0 target")


@pytest.mark.parametrize("one_file", [True, False])
def test_one_utterance_enrols(folder, one_file):
    enroll = folder.embeddings("a", UTTERANCES)
    test = enroll if one_file else folder.embeddings("b", UTTERANCES)
    expected = [
        cosine(UTTERANCES[a], UTTERANCES[b]) for a, b, _ in map(str.split, LINES)
    ]
    np.testing.assert_allclose(score(folder, LINES, enroll, test), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["mean_embedding", "mean_score"])
def test_several_utterances_enrol_a_model(folder, mode):
    scp = folder.embeddings("x", UTTERANCES)
    models = folder.text("spk2utt", "ann utt0 utt2 utt3", "bob utt4", "eve utt5")
    found = score(
        folder,
        ("ann utt1 target", "bob utt1 nontarget"),
        scp,
        spk2utt=models,
        mode=mode,
    )
    of_ann = [UTTERANCES[u] for u in ("utt0", "utt2", "utt3")]
    if mode == "mean_score":
        expected = np.mean([cosine(v, UTTERANCES["utt1"]) for v in of_ann])
    else:
        mean = np.mean([v / np.linalg.norm(v) for v in of_ann], axis=0)
        expected = cosine(mean, UTTERANCES["utt1"])
    expected = [expected, cosine(UTTERANCES["utt4"], UTTERANCES["utt1"])]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_enrolment_embeddings_may_be_keyed_by_model(folder):
    models = folder.embeddings("models", {"ann": UTTERANCES["utt5"]})
    found = score(
        folder, ("ann utt0 target",), models, folder.embeddings("x", UTTERANCES)
    )
    assert found[0] == pytest.approx(
        cosine(UTTERANCES["utt5"], UTTERANCES["utt0"]), abs=1e-6
    )


def test_mean_of_another_set_is_subtracted(folder):
    scp = folder.embeddings("x", UTTERANCES)
    others = {f"other{i}": RNG.normal(size=6).astype(np.float32) for i in range(3)}
    mean = np.mean(list(others.values()), axis=0)
    found = score(folder, LINES[:1], scp, mean_scp=folder.embeddings("o", others))
    expected = cosine(UTTERANCES["utt0"] - mean, UTTERANCES["utt1"] - mean)
    assert found[0] == pytest.approx(expected, abs=1e-6)


def test_mean_of_tested_utterances_is_refused(folder):
    scp = folder.embeddings("x", UTTERANCES)
    with pytest.raises(SVError, match=r"in the trials, e\.g\. utt0"):
        score(folder, LINES, scp, mean_scp=scp)


def test_names_what_is_wrong(folder):
    scp = folder.embeddings("x", UTTERANCES)
    models = folder.text("spk2utt", "ann utt0 utt2")
    with pytest.raises(SVError, match="has no model bob"):
        score(folder, ("bob utt1 target",), scp, spk2utt=models)
    with pytest.raises(SVError, match=r"no embedding for ghost, which .*trials needs"):
        score(folder, ("utt0 ghost target",), scp)
    short = folder.embeddings("short", {k: v[:4] for k, v in UTTERANCES.items()})
    with pytest.raises(SVError, match=r"of 6 dimensions, .* of 4"):
        score(folder, LINES, scp, short)
