import numpy as np
import pytest
from kaldi_reference import kaldiio

from espnet2_sv.errors import SVError
from espnet2_sv.inference.shards import Part, load_part, merge_parts, save_part


def part(names, failed=(), seed=0) -> Part:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((len(names), 4)).astype(np.float32)
    return Part(list(names), vectors, rng.uniform(1, 9, len(names)), list(failed))


@pytest.fixture
def parts(tmp_path):
    parts = [
        part(["utt-b", "utt-a"], [("bad-1", "x.wav: is empty")]),
        Part(
            [],
            np.zeros((0, 0), np.float32),
            np.zeros(0),
            [("bad-2", "y.wav: ünreadable")],
        ),
        part(["日本-c"], seed=1),
    ]
    for i, p in enumerate(parts):
        save_part(tmp_path / f"{i}.npz", p)
    return parts, [tmp_path / f"{i}.npz" for i in range(3)]


def test_a_part_is_read_back_as_it_was(parts):
    for expected, path in zip(*parts, strict=True):
        found = load_part(path)
        assert found.utterances == expected.utterances
        assert found.failed == expected.failed
        np.testing.assert_array_equal(found.embeddings, expected.embeddings)
        np.testing.assert_array_equal(found.seconds, expected.seconds)


def test_merged_embeddings_are_kaldi_vectors_in_order(parts, tmp_path, monkeypatch):
    expected, paths = parts
    monkeypatch.chdir(tmp_path)
    assert merge_parts(paths, "out/emb") == (3, 2)
    lines = (tmp_path / "out/emb/xvector.scp").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in lines] == ["utt-b", "utt-a", "日本-c"]
    assert all(line.split()[1].startswith("out/emb/xvector.ark:") for line in lines)
    vectors = kaldiio.load_scp("out/emb/xvector.scp")  # relative, from where we are
    np.testing.assert_array_equal(vectors["utt-a"], expected[0].embeddings[1])
    np.testing.assert_array_equal(vectors["日本-c"], expected[2].embeddings[0])
    streamed = dict(kaldiio.load_ark("out/emb/xvector.ark"))
    assert len(streamed) == 3  # omniio decodes keys beyond ASCII differently
    assert list(streamed)[:2] == ["utt-b", "utt-a"]
    assert streamed["utt-b"].dtype == np.float32
    durations = [
        float(line.split()[1])
        for line in (tmp_path / "out/emb/utt2dur")
        .read_text(encoding="utf-8")
        .splitlines()
    ]
    np.testing.assert_allclose(
        durations, [*expected[0].seconds, *expected[2].seconds], atol=0.0005
    )
    failed = (tmp_path / "out/emb/failed").read_text(encoding="utf-8").splitlines()
    assert failed == ["bad-1 x.wav: is empty", "bad-2 y.wav: ünreadable"]


def test_a_damaged_part_is_named(parts, tmp_path):
    path = parts[1][0]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SVError, match=r"0\.npz"):
        load_part(path)


def test_a_failed_merge_leaves_no_scp(parts, tmp_path):
    merge_parts(parts[1], tmp_path / "out")
    with pytest.raises(SVError):
        merge_parts([*parts[1], tmp_path / "missing.npz"], tmp_path / "out")
    assert not (tmp_path / "out" / "xvector.scp").exists()
