import ast
import importlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import espnet2_sv
from espnet2_sv.data.arks import ArkReader, read_record, write_record
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.embeddings import read_embeddings

pytestmark = pytest.mark.execution_timeout(200)

RNG = np.random.default_rng(0)
ARRAYS = {
    "utt-a": RNG.normal(size=7).astype(np.float32),
    "日本-b": RNG.normal(size=(5, 3)).astype(np.float32),
    "c": RNG.normal(size=9),
    "d": RNG.normal(size=(2, 4)),
}


@pytest.fixture(params=["kaldiio", "omniio.kaldi"])
def reference(request):
    return pytest.importorskip(request.param)


def read_all(scp: Path) -> dict[str, np.ndarray]:
    reader = ArkReader("record")
    found = {}
    for number, line in enumerate(scp.read_text(encoding="utf-8").splitlines(), 1):
        key, entry = line.split(maxsplit=1)
        where = f"{scp}: line {number}"
        found[key] = np.array(reader.read(key, entry, lambda where=where: where))
    reader.finish()
    return found


def save(reference, folder: Path, arrays, **options) -> Path:
    scp = folder / "x.scp"
    reference.save_ark(str(folder / "x.ark"), arrays, scp=str(scp), **options)
    return scp


def test_reads_what_others_write(reference, tmp_path):
    found = read_all(save(reference, tmp_path, ARRAYS))
    assert list(found) == list(ARRAYS)
    for key, array in ARRAYS.items():
        assert found[key].dtype == array.dtype
        np.testing.assert_array_equal(found[key], array)


@pytest.mark.parametrize("method", [2, 3, 5])  # CM, CM2, CM3
@pytest.mark.parametrize("shape", [(1, 1), (40, 13), (300, 2)])
def test_reads_compressed_matrices_as_others_do(reference, tmp_path, method, shape):
    matrix = RNG.normal(size=shape).astype(np.float32)
    scp = save(reference, tmp_path, {"utt": matrix}, compression_method=method)
    expected = reference.load_scp(str(scp))["utt"]
    np.testing.assert_allclose(read_all(scp)["utt"], expected, rtol=1e-5, atol=1e-5)


def test_others_read_what_is_written(reference, tmp_path):
    with open(tmp_path / "x.ark", "wb") as ark:
        lines = [
            f"{key} {tmp_path}/x.ark:{write_record(ark, key, array)}\n"
            for key, array in ARRAYS.items()
        ]
    (tmp_path / "x.scp").write_text("".join(lines), encoding="utf-8")
    found = reference.load_scp(str(tmp_path / "x.scp"))
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(found[key], array.astype(np.float32))


def test_the_package_needs_neither_library():
    for path in Path(espnet2_sv.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or ""]
                names += [name.name for name in node.names]
                assert not {n.split(".")[0] for n in names} & {"kaldiio", "omniio"}


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_nothing_runs(tmp_path):
    proof = tmp_path / "ran"
    payload = pickle.dumps(Runs(proof))
    bodies = [b"PKL" + payload, payload]
    bodies += [b"PKL" + b"\4" + struct.pack("<i", len(payload)) + payload]
    (tmp_path / "x.ark").write_bytes(b"utt " + bodies[0])
    entries = [f"touch {proof} |", f"| touch {proof}", f"touch {proof}|:4", "-", "-:0"]
    entries += [f"{tmp_path}/x.ark", f"{tmp_path}/x.ark:4[0:1]", f"{tmp_path}/x.ark:4"]
    for body in bodies:
        (tmp_path / "x.ark").write_bytes(b"utt " + body)
        for entry in entries:
            (tmp_path / "x.scp").write_text(f"utt {entry}\n")
            with pytest.raises(SVError, match=r"x\.scp: line 1: the embedding of utt "):
                read_embeddings(tmp_path / "x.scp")
    assert not proof.exists()


def vectors_ark(folder: Path, names) -> dict[str, int]:
    with open(folder / "x.ark", "wb") as ark:
        return {
            name: write_record(ark, name, np.full(3, 20.0 + i, np.float32))
            for i, name in enumerate(names)
        }


@pytest.mark.parametrize("reads", [["1"], ["1", "11"], ["11", "1"], ["1", "2"]])
def test_an_entry_with_another_utterances_record_is_refused(tmp_path, reads):
    """Also where one name ends like the other, and both entries are swapped."""
    offsets = vectors_ark(tmp_path, ["2", "1", "11"])
    scp = tmp_path / "x.scp"

    def at(name):
        return f"{tmp_path}/x.ark:{offsets[name]}"

    scp.write_text("".join(f"{name} {at(name)}\n" for name in offsets))
    _, found = read_embeddings(scp, reads)
    assert found[:, 0].tolist() == [{"2": 20, "1": 21, "11": 22}[n] for n in reads]
    scp.write_text(f"1 {at('11')}\n11 {at('1')}\n2 {at('2')}\n")
    with pytest.raises(SVError, match=r"line \d: .* another utterance's"):
        read_embeddings(scp, reads)


def test_looking_for_keys_ends_at_an_impossible_record(tmp_path):
    offsets = vectors_ark(tmp_path, ["2", "1"])
    text = bytearray((tmp_path / "x.ark").read_bytes())
    text[offsets["2"] + 6 : offsets["2"] + 10] = struct.pack("<i", -3)
    (tmp_path / "x.ark").write_bytes(text)
    (tmp_path / "x.scp").write_text(f"1 {tmp_path}/x.ark:{offsets['1']}\n")
    assert read_embeddings(tmp_path / "x.scp")[1].tolist() == [[21, 21, 21]]


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    for entry, reason in [
        (f"{tmp_path}:4", "is not a file"),
        (f"{tmp_path}/fifo:4", "is not a file"),
        (f"{tmp_path}/empty:4", "is empty"),
        (f"{tmp_path}/ghost:4", "No such file"),
        (f"{tmp_path}/{'x' * 5000}:4", "File name too long"),
        (f"{tmp_path}/empty:{2**63}", "is empty"),
    ]:
        (tmp_path / "x.scp").write_text(f"utt {entry}\n")
        with pytest.raises(SVError, match=f"line 1: the embedding of utt .*{reason}"):
            read_embeddings(tmp_path / "x.scp")


def record(array, marker=b"FV ", sizes=None):
    sizes = array.shape if sizes is None else sizes
    head = b"".join(b"\4" + struct.pack("<i", n) for n in sizes)
    return b"\0B" + marker + head + array.tobytes()


@pytest.mark.parametrize(
    "marker, sizes",
    [
        (b"FV ", (-1,)),
        (b"FV ", (0,)),
        (b"FV ", (2**31 - 1,)),
        (b"FV ", (8,)),
        (b"FM ", (-1, -7)),
        (b"FM ", (2**31 - 1, 2**31 - 1)),
        (b"FM ", (0, 7)),
        (b"DV ", (7,)),
        (b"XV ", (7,)),
        (b"CM ", (7,)),
    ],
)
def test_impossible_sizes_are_refused(marker, sizes):
    data = record(np.ones(7, np.float32), marker, sizes)
    with pytest.raises(ValueError):
        read_record(memoryview(data), 0)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """An ark of every kind of record, and the offsets."""
    folder = tmp_path_factory.mktemp("arks")
    library = importlib.import_module("omniio.kaldi")
    text, offsets = b"", {}
    for method in (None, 2, 3, 5):
        for name, array in ARRAYS.items():
            if method is None or array.ndim == 2:
                key = f"{name}{method}"
                options = {} if method is None else {"compression_method": method}
                library.save_ark(str(folder / "one.ark"), {key: array}, **options)
                offsets[key] = len(text) + len(key.encode()) + 1
                text += (folder / "one.ark").read_bytes()
    return text, offsets


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_ark_is_read_or_refused(valid, tmp_path, data):
    text, offsets = valid
    text = bytearray(text)
    for _ in range(data.draw(st.integers(0, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    text = text[: data.draw(st.integers(0, len(text)) | st.just(len(text)))]
    (tmp_path / "x.ark").write_bytes(text)
    moved = data.draw(st.sampled_from([0, 0, 0, 1, -1, 2**63]))
    lines = "".join(
        f"{key} {tmp_path}/x.ark:{max(offset + moved, 0)}\n"
        for key, offset in offsets.items()
    )
    (tmp_path / "x.scp").write_text(lines, encoding="utf-8")
    for read in (read_all, read_embeddings):
        try:
            read(tmp_path / "x.scp")
        except SVError as e:
            assert len(str(e).splitlines()) == 1
            assert "x.scp" in str(e)
