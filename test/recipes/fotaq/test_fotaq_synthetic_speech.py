import os
import stat
import sys

import numpy as np
import pytest
import soundfile
from fotaq.sentences import read_sentences
from fotaq.synthesis import VARIANTS, Sentence, speak, synthesise

from espnet2_sv.errors import SVError

LICENCE = "  1 This software and database is being provided to you\n"
ENTRIES = {
    "data.verb": [
        '00004032 29 v 02 sigh 0 suspire 4 004 @ 00001740 v 0000 | heave a sigh; "She'
        ' sighed sadly"',
        "00003133 29 v 01 x 1 003 $ 00003133 v 0000 | produce; \"the nurses' patient",
        '02724 29 v 01 choke 0 002 | breathe; "They choked: with emotion!"; "go"',
    ],
    "data.noun": ['00001740 03 n 01 entity 0 003 | that which is; "It is `he\' and I"'],
    "data.adj": ['00001 00 a 01 able 0 | having means; "In 1984 he was able"; "a b c"'],
    "data.adv": ['00002 02 r 01 ably 0 | in a way; "She sighed sadly"; "so she did"'],
}
# Stands in for both programs: the length and the pitch depend on its arguments
PROGRAM = """#!{python}
import io, sys, zlib
import numpy as np, soundfile
number = zlib.crc32(" ".join(sys.argv).encode())
time = np.arange(16000 + number % 8000) / 16000
buffer = io.BytesIO()
soundfile.write(buffer, 0.3 * np.sin(2 * np.pi * 200 * time), {rate}, format="WAV")
sys.stdout.buffer.write({output})
"""


@pytest.fixture
def wordnet(tmp_path):
    for name, lines in ENTRIES.items():
        (tmp_path / name).write_text(LICENCE + "\n".join(lines), encoding="latin-1")
    return tmp_path


def programs(folder, output="buffer.getvalue()", rate=22050):
    place = folder / "usr/bin"
    place.mkdir(parents=True)
    for name in ("espeak-ng", "flite"):
        path = place / name
        path.write_text(PROGRAM.format(python=sys.executable, rate=rate, output=output))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


def test_examples_become_sentences_once_in_random_order(wordnet):
    sentences = read_sentences(wordnet)
    assert sorted(sentences) == [
        "A B C",
        "IT IS HE AND I",
        "SHE SIGHED SADLY",
        "SO SHE DID",
        "THEY CHOKED WITH EMOTION",
    ]  # neither numbers, nor single words, nor what is not closed
    assert sentences == read_sentences(wordnet, seed=0)
    assert any(read_sentences(wordnet, seed) != sentences for seed in range(1, 5))


@pytest.mark.parametrize("name", ENTRIES)
def test_what_is_not_wordnet_is_refused(wordnet, name):
    (wordnet / name).write_text(LICENCE)
    with pytest.raises(SVError, match=f"{name}: holds no examples"):
        read_sentences(wordnet)
    (wordnet / name).unlink()
    with pytest.raises(SVError, match=f"{name}: cannot be read"):
        read_sentences(wordnet)


def test_sentences_are_spoken_alike_whatever_is_spoken_with_them(tmp_path):
    place = programs(tmp_path / "unpacked")
    texts = {f"s{i}": f"SENTENCE {'X' * i}" for i in range(6)}
    paths = synthesise(texts, tmp_path / "all", 16000, nj=2, unpacked=place)
    assert list(paths) == list(texts)
    one = synthesise({"s3": texts["s3"]}, tmp_path / "one", 16000, unpacked=place)
    again, rate = soundfile.read(one["s3"])
    np.testing.assert_array_equal(again, soundfile.read(paths["s3"])[0])
    lengths = {soundfile.info(path).frames for path in paths.values()}
    assert rate == 16000 and len(lengths) == 6
    other = synthesise(texts, tmp_path / "other", 16000, seed=1, unpacked=place)
    assert {soundfile.info(path).frames for path in other.values()} != lengths


def test_what_is_there_is_kept(tmp_path):
    place = programs(tmp_path / "unpacked")
    [path] = synthesise({"a": "A"}, tmp_path / "x", 16000, unpacked=place).values()
    before = os.stat(path).st_mtime_ns
    synthesise({"a": "A", "b": "B"}, tmp_path / "x", 16000, unpacked=place)
    assert os.stat(path).st_mtime_ns == before


@pytest.mark.parametrize(
    "output, message",
    [
        ("b'no audio at all'", "gave no audio"),
        ("buffer.getvalue()[:44] + bytes(40000)", "said nothing"),
        ("sys.exit('it broke')", "failed: it broke"),
    ],
)
def test_a_program_that_does_not_speak_is_named(tmp_path, output, message):
    place = programs(tmp_path, output)
    with pytest.raises(SVError, match=f"(flite|espeak-ng) .*{message}"):
        speak(Sentence("a", "HELLO"), 16000, 0, place)


def test_a_missing_program_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SVError, match=r"is missing; install Debian's package"):
        speak(Sentence("a", "HELLO"), 16000, 0)


def test_both_programs_and_many_voices_are_used(tmp_path, monkeypatch):
    said = []
    wave = 0.3 * np.sin(np.arange(16000))

    def run(words, unpacked):
        said.append(words)
        return b""

    monkeypatch.setattr("fotaq.synthesis._run", run)
    monkeypatch.setattr("fotaq.synthesis._decode", lambda data, words: (wave, 16000))
    for i in range(600):
        speak(Sentence(f"s{i}", "HELLO"), 16000, 0)
    by_espeak = [words for words in said if words[0] == "espeak-ng"]
    assert 250 < len(by_espeak) < 350
    assert len({words[2].split("+")[1] for words in by_espeak}) > 0.9 * len(VARIANTS)


def test_one_sentence_in_a_hundred_is_held_out(wordnet, tmp_path, monkeypatch):
    import synthesise as command

    folder = tmp_path / "data/synthetic"
    call = ["--wordnet", wordnet, "--unpacked", programs(tmp_path / "unpacked")]
    call += ["--audio_dir", tmp_path / "audio", "--output_dir", folder]
    monkeypatch.setattr(command, "_HELD_OUT", 3)
    command.main([str(word) for word in [*call, "--sentences", 4]])
    tables = {}
    for part in ("synthetic", "synthetic_dev"):
        for table in ("text", "wav.scp"):
            lines = (tmp_path / "data" / part / table).read_text().splitlines()
            tables[part, table] = dict(line.split(maxsplit=1) for line in lines)
    for part, size in (("synthetic", 2), ("synthetic_dev", 2)):
        assert tables[part, "text"].keys() == tables[part, "wav.scp"].keys()
        assert len(tables[part, "text"]) == size
        for path in tables[part, "wav.scp"].values():
            assert soundfile.info(path).samplerate == 16000
    texts = tables["synthetic", "text"] | tables["synthetic_dev", "text"]
    assert set(texts.values()) == set(read_sentences(wordnet)[:4])
