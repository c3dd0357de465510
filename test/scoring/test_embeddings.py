import kaldiio
import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.scoring.embeddings import read_embeddings

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


def test_reads_other_kaldi_formats(folder):
    doubles = folder.embeddings(
        "d", {k: v.astype(np.float64) for k, v in VECTORS.items()}
    )
    text = str(folder.root / "t.ark")
    kaldiio.save_ark(text, VECTORS, scp=f"{text}.scp", text=True)
    for scp in (doubles, f"{text}.scp"):
        _, found = read_embeddings(scp)
        np.testing.assert_allclose(found, np.stack(list(VECTORS.values())), rtol=1e-6)


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
        (np.ones((2, 7), np.float32), "utt1 .* cannot be read: it is not a vector"),
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
