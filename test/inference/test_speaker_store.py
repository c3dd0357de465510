"""Enrolled speakers: sums of recordings, one matrix, and a file that several write."""

import json
import multiprocessing
import os
import shutil
import signal
import zipfile

import numpy as np
import pytest

from espnet2_sv.errors import SVError
from espnet2_sv.inference.speaker_file import FORMAT
from espnet2_sv.inference.speaker_store import SpeakerStore
from espnet2_sv.inference.speaker_template import SpeakerTemplate

MODEL = "0123"
DIM = 6


def template(seed: int, recordings: int = 1) -> SpeakerTemplate:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(recordings, DIM)) * rng.uniform(1, 9, (recordings, 1))
    seconds = rng.uniform(1, 20, recordings)
    return SpeakerTemplate.of_recordings(rows, seconds.tolist(), (seconds / 2).tolist())


def assert_same(one: SpeakerTemplate, other: SpeakerTemplate) -> None:
    np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-6)
    for name in ("resultant", "seconds", "speech", "magnitudes", "recordings"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-6)


def content(store: SpeakerStore) -> dict[str, SpeakerTemplate]:
    return {name: store[name] for name in store}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "speakers"


def saved(path, names: str) -> SpeakerStore:
    store = SpeakerStore()
    for name in names:
        store.add(name, template(ord(name)))
    store.save(path, MODEL)
    return store


@pytest.mark.parametrize("seed", range(3))
def test_recordings_are_averaged_by_seconds_in_any_order(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(7, DIM))
    seconds, weights = rng.uniform(1, 60, 7), rng.uniform(0.1, 30, 7)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = weights @ unit
    parts = np.split(rng.permutation(7), sorted(rng.choice(np.arange(1, 7), 2, False)))
    store = SpeakerStore()
    for part in parts:
        chosen = (rows[part], seconds[part].tolist(), weights[part].tolist())
        store.add("ann", SpeakerTemplate.of_recordings(*chosen))
    found = store["ann"]
    assert found.resultant == pytest.approx(np.linalg.norm(expected), rel=1e-5)
    np.testing.assert_allclose(
        found.embedding, expected / np.linalg.norm(expected), atol=1e-5
    )
    assert found.quality.duration == pytest.approx(seconds.sum())
    assert found.quality.magnitude == pytest.approx(
        np.linalg.norm(rows, axis=1).mean(), rel=1e-5
    )


def test_the_store_behaves_as_a_dictionary_of_templates(path):
    """Against a dictionary, by random changes that are saved or not."""
    rng = np.random.default_rng(0)
    store, expected = SpeakerStore(), {}
    for step in range(300):
        name = f"speaker {rng.integers(40)}"
        new = template(step, rng.integers(1, 3))
        match rng.choice(["add", "add", "replace", "remove", "save"]):
            case "add":
                store.add(name, new)
                expected[name] = expected[name] + new if name in expected else new
            case "replace":
                store.add(name, new, replace=True)
                expected[name] = new
            case "remove" if name in expected:
                store.remove(name)
                del expected[name]
            case "remove":
                with pytest.raises(SVError, match=f"{name}: no speaker"):
                    store.remove(name)
            case "save":
                store.save(path, MODEL)
        assert set(store) == set(expected) and len(store) == len(expected)
    store.save(path, MODEL)
    read = SpeakerStore()
    read.load(path, MODEL)
    for found in (store, read):
        assert set(found) == set(expected)
        for name, wanted in expected.items():
            assert_same(found[name], wanted)
    query = template(999).embedding
    scores = dict(zip(read, read.scores(query), strict=True))
    for name, wanted in expected.items():
        assert scores[name] == pytest.approx(wanted.embedding @ query, abs=1e-5)


def test_two_writers_keep_each_others_work(path):
    saved(path, "abcd")
    one, other = SpeakerStore(), SpeakerStore()
    one.load(path, MODEL)
    other.load(path, MODEL)
    one.add("a", template(1))  # both add recordings to one speaker
    other.add("a", template(2))
    one.add("new", template(3))  # both enrol one speaker
    other.add("new", template(4))
    one.remove("b")
    other.add("c", template(5), replace=True)
    one.add("e", template(6))
    one.save(path, MODEL)
    other.save(path, MODEL)
    one.load(path, MODEL)
    expected = {
        "a": template(ord("a")) + template(1) + template(2),
        "new": template(3) + template(4),
        "c": template(5),
        "d": template(ord("d")),
        "e": template(6),
    }
    for store in (one, other):
        assert set(store) == set(expected)
        for name, wanted in expected.items():
            assert_same(store[name], wanted)
    assert not one.changed


def enrol_many(path, letter, count):
    for i in range(count):
        store = SpeakerStore()
        store.add(f"{letter}{i}", template(i))
        store.add("shared", template(i))
        store.save(path, MODEL)


def test_many_processes_write_at_once(path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=enrol_many, args=(path, x, 8)) for x in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    store = SpeakerStore()
    store.load(path, MODEL)
    assert set(store) == {"shared"} | {f"{x}{i}" for x in "abc" for i in range(8)}
    assert store["shared"].recordings == 24


def test_a_killed_writer_loses_nothing(path):
    saved(path, "ab")
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        writer = context.Process(target=enrol_many, args=(path, "k", 10**6))
        writer.start()
        before = path.stat().st_ino
        while path.stat().st_ino == before:
            pass
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        store = SpeakerStore()
        store.load(path, MODEL)
        assert {"a", "b", "k0", "shared"} <= set(store)
    saved(path, "z")  # nor does it stand in the way of the next
    assert not list(path.parent.glob("*.part"))


def test_a_store_is_for_one_model(path):
    saved(path, "a")
    for call in (SpeakerStore().load, SpeakerStore().save):
        with pytest.raises(SVError, match="another model") as error:
            call(path, "4567")
        assert "\n" not in str(error.value)
    store = SpeakerStore()
    store.load(path, MODEL)
    wide = SpeakerTemplate.of_recordings(np.ones((1, DIM + 1)), [1.0], [1.0])
    with pytest.raises(SVError, match="dimension"):
        store.add("b", wide)
    assert list(store) == ["a"]


def test_all_speakers_can_be_removed(path):
    store = saved(path, "ab")
    store.remove("a")
    store.remove("b")
    store.save(path, MODEL)
    store.load(path, MODEL)
    assert not len(store)
    store.add("c", template(1))
    store.save(path, MODEL)
    assert set(content(store)) == {"c"}


def test_unsaved_changes_are_not_lost_to_another_store(path):
    store = saved(path, "a")
    saved(path.with_name("other"), "b")
    store.add("c", template(1))
    with pytest.raises(SVError, match="save them"):
        store.load(path.with_name("other"), MODEL)
    store.save(path.with_name("other"), MODEL)  # a copy into the other
    assert set(store) == {"a", "b", "c"}


def change(path, **arrays):
    """Write a store anew with other arrays."""
    with np.load(path, allow_pickle=True) as data:
        content = dict(data) | arrays
    np.savez(path, **content)
    if path.with_suffix(".npz").exists():
        path.with_suffix(".npz").replace(path)


def header(**values):
    text = json.dumps({"format": FORMAT, "model": MODEL} | values)
    return np.frombuffer(text.encode(), np.uint8)


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"header": header(format="espnet2_sv speakers 2")}, "format .*version"),
        ({"header": header(format=7)}, "damaged"),
        ({"header": np.frombuffer(b"[" * 10**5, np.uint8)}, "damaged"),
        ({"names": np.frombuffer(b"a\na", np.uint8)}, "twice"),
        ({"names": np.frombuffer(b"a", np.uint8)}, "numbers of speakers"),
        ({"names": np.frombuffer(b"a\n\x07", np.uint8)}, "printed"),
        ({"names": np.frombuffer(b"a\n\xff", np.uint8)}, "damaged"),
        ({"embeddings": np.full((2, DIM), np.nan, np.float32)}, "speaker a"),
        ({"embeddings": np.zeros((2, DIM), np.float32)}, "impossible"),
        ({"embeddings": np.eye(2, DIM)}, "damaged"),  # doubles
        ({"embeddings": np.array([[{}]], object)}, "damaged"),  # a pickle
        ({"embeddings": np.eye(3, DIM, dtype=np.float32)}, "numbers of speakers"),
        ({"seconds": np.array([1.0, np.inf])}, "speaker b"),
        ({"resultant": np.array([1.0, -1.0])}, "speaker b"),
        ({"recordings": np.array([0, 1])}, "speaker a"),
    ],
)
def test_bad_stores_are_refused_in_one_line(path, arrays, words):
    saved(path, "ab")
    change(path, **arrays)
    before = path.read_bytes()
    store = SpeakerStore()
    store.add("c", template(1))
    for call in (store.load, store.save):
        with pytest.raises(SVError, match=words) as error:
            call(path, MODEL)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
    assert path.read_bytes() == before and list(store) == ["c"]


def test_damaged_files_are_refused_wherever_they_are_cut_or_changed(path):
    saved(path, "ab")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for length in rng.integers(0, len(whole), 30):
        path.write_bytes(whole[:length])
        with pytest.raises(SVError, match="damaged"):
            SpeakerStore().load(path, MODEL)
    store = SpeakerStore()
    for place in rng.integers(0, len(whole), 100):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:  # dates and the like within the archive do not matter
            store.load(path, MODEL)
        except SVError as e:
            assert "\n" not in str(e)
        else:
            assert_same(store["a"], template(ord("a")))
        store = SpeakerStore()


def test_an_array_cannot_claim_more_than_the_file_holds(path):
    saved(path, "ab")
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["embeddings.npy"] = members["embeddings.npy"].replace(
        b"(2, 6), }       ", b"(2000000000, 6)}"
    )
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(path, "w", compression) as new:
            for name, data in members.items():
                new.writestr(name, data)
        with pytest.raises(SVError, match="damaged"):
            SpeakerStore().load(path, MODEL)


@pytest.mark.parametrize("name", ["", " ", "unknown", "a\nb", "\ud800", "x" * 1001])
def test_impossible_names_are_refused(name):
    store = SpeakerStore()
    with pytest.raises(SVError) as error:
        store.add(name, template(1))
    assert "\n" not in str(error.value) and not len(store)


def test_what_cannot_be_read_is_named(path):
    with pytest.raises(SVError, match=r"speakers: no such store"):
        SpeakerStore().load(path, MODEL)
    path.mkdir()
    with pytest.raises(SVError, match=r"speakers: cannot be read"):
        SpeakerStore().load(path, MODEL)
    shutil.rmtree(path)
    store = SpeakerStore()
    store.add("a", template(1))
    with pytest.raises(SVError, match="dimension"):
        store.scores(np.ones(DIM + 2))


def test_the_matrix_grows_in_place(path):
    """A million speakers must not need their size twice."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, DIM)).astype(np.float32)
    store = SpeakerStore()
    for i, row in enumerate(rows):
        store.add(f"s{i}", SpeakerTemplate.of_recordings(row[None], [1.0], [1.0]))
    assert store._matrix.nbytes < 1.1 * rows.nbytes
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(store.scores(unit[7]), unit @ unit[7], atol=1e-5)
