import os
import shutil

import numpy as np
import pytest
import soundfile
import torch
from kaldi_reference import kaldiio

from espnet2_sv.data.audio import read_audio
from espnet2_sv.errors import SVError
from espnet2_sv.inference import workers as worker
from espnet2_sv.inference.embedder import default_shard_size, embed_wav_scp
from espnet2_sv.inference.speech2embedding import Speech2Embedding

RATE = 16000


@pytest.fixture
def data(an4, tmp_path):
    """Real speech in several formats, and its wav.scp in no particular order."""
    folder = tmp_path / "data"
    folder.mkdir()
    sources = {name: str(path) for name, path in an4.items()}
    speech, _ = soundfile.read(an4["an251-fash-b"])
    stereo = np.stack([speech, 0.5 * speech], axis=1)
    for suffix in ("wav", "flac", "mp3", "ogg"):
        soundfile.write(folder / f"copy.{suffix}", stereo, RATE)
        sources[f"copy-{suffix}"] = str(folder / f"copy.{suffix}")
    soundfile.write(folder / "slow.wav", speech[::2], RATE // 2)
    sources["slow"] = str(folder / "slow.wav")
    with kaldiio.WriteHelper(f"ark,scp:{folder}/wav.ark,{folder}/ark.scp") as writer:
        for name in ("x", "y"):
            writer[f"ark-{name}"] = (RATE, (speech * 2**15).astype(np.int16))
    sources.update(
        line.split() for line in (folder / "ark.scp").read_text().splitlines()
    )
    rng = np.random.default_rng(0)
    wavs = {name: sources[name] for name in rng.permutation(list(sources))}
    write_scp(folder / "wav.scp", wavs)
    return folder, wavs


def write_scp(path, wavs):
    path.write_text("".join(f"{name} {audio}\n" for name, audio in wavs.items()))


def read_vectors(folder):
    return {
        name: np.array(v)
        for name, v in kaldiio.load_scp(f"{folder}/xvector.scp").items()
    }


@pytest.fixture
def counted(monkeypatch):
    """The utterances that were read, in any order, and a way to break off."""
    read = worker.reader
    seen = []

    def counting(rate, allow_pipes, channel):
        reads = read(rate, allow_pipes, channel)

        def one(audio):
            seen.append(audio)
            return reads(audio)

        return one

    monkeypatch.setattr(worker, "reader", counting)
    return seen


@pytest.mark.parametrize("model", ["speaker_exp", "legacy_exp"])
def test_embeddings_equal_those_of_one_by_one(model, data, tmp_path, request):
    source, (folder, wavs) = request.getfixturevalue(model), data
    report = embed_wav_scp(source, folder / "wav.scp", tmp_path / "out", shard_size=6)
    assert (report.embedded, report.failed, report.new) == (len(wavs), 0, len(wavs))
    vectors = read_vectors(tmp_path / "out")
    assert list(vectors) == list(wavs)
    speech2embedding = Speech2Embedding.from_pretrained(source)
    durations = dict(
        line.split() for line in (tmp_path / "out/utt2dur").read_text().splitlines()
    )
    for name, audio in wavs.items():
        wave = read_audio(audio, RATE)
        expected = speech2embedding(wave)[0].numpy()
        np.testing.assert_allclose(vectors[name], expected, atol=1e-5)
        assert float(durations[name]) == pytest.approx(len(wave) / RATE, abs=1e-3)
    assert (tmp_path / "out/failed").read_text() == ""
    assert not (tmp_path / "out/parts").exists()


def test_a_killed_run_goes_on_where_it_was(
    speaker_exp, data, tmp_path, counted, monkeypatch
):
    folder, wavs = data
    save, saved = worker.save_part, []

    def save_two_then_die(path, part):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.extend(part.utterances[:1])
        save(path, part)

    arguments = (speaker_exp, folder / "wav.scp", tmp_path / "out")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(worker, "save_part", save_two_then_die)
        embed_wav_scp(*arguments, shard_size=4)
    assert not (tmp_path / "out/xvector.scp").exists()
    counted.clear()
    report = embed_wav_scp(*arguments, shard_size=4)
    assert report.new == len(counted) == len(wavs) - 8
    whole = embed_wav_scp(speaker_exp, folder / "wav.scp", tmp_path / "whole")
    assert whole.embedded == report.embedded == len(wavs)
    expected = read_vectors(tmp_path / "whole")
    for name, vector in read_vectors(tmp_path / "out").items():
        np.testing.assert_allclose(vector, expected[name], atol=1e-5)


def test_a_finished_run_is_not_repeated(speaker_exp, data, tmp_path, counted):
    folder, wavs = data
    embed_wav_scp(speaker_exp, folder / "wav.scp", tmp_path / "out")
    counted.clear()
    report = embed_wav_scp(speaker_exp, folder / "wav.scp", tmp_path / "out")
    assert (report.embedded, report.new, counted) == (len(wavs), 0, [])
    assert embed_wav_scp(
        speaker_exp, folder / "wav.scp", tmp_path / "out", resume=False
    ).new == len(wavs)


def test_what_changed_is_embedded_anew(speaker_exp, new_exp, data, tmp_path):
    folder, wavs = data
    scp, out = folder / "wav.scp", tmp_path / "out"
    embed_wav_scp(speaker_exp, scp, out)
    before = read_vectors(out)

    other = new_exp()  # another model
    assert embed_wav_scp(other, scp, out).new == len(wavs)
    assert np.abs(read_vectors(out)["slow"] - before["slow"]).max() > 1e-3

    speech, _ = soundfile.read(
        wavs["cen8-mmxg-b"]
    )  # another recording of the same name
    soundfile.write(wavs["slow"], speech, RATE)
    assert embed_wav_scp(other, scp, out).new == len(wavs)
    expected = Speech2Embedding.from_pretrained(other)(read_audio(wavs["slow"], RATE))[
        0
    ]
    np.testing.assert_allclose(read_vectors(out)["slow"], expected, atol=1e-5)

    write_scp(scp, {"slow": wavs["slow"]})  # another list
    assert embed_wav_scp(other, scp, out).new == 1
    assert list(read_vectors(out)) == ["slow"]


def test_parts_of_another_model_are_not_used(speaker_exp, new_exp, data, tmp_path):
    folder, wavs = data
    embed_wav_scp(speaker_exp, folder / "wav.scp", tmp_path / "out", shard="1/1")
    assert (tmp_path / "out/parts").exists()
    assert embed_wav_scp(new_exp(), folder / "wav.scp", tmp_path / "out").new == len(
        wavs
    )


@pytest.fixture
def bad(data):
    """A list with three recordings that cannot be embedded."""
    folder, wavs = data
    (folder / "broken.wav").write_bytes(b"RIFF nothing")
    soundfile.write(folder / "short.wav", np.full(40, 0.1), RATE)
    wavs = {
        "a-missing": str(folder / "nowhere.wav"),
        **wavs,
        "y-broken": str(folder / "broken.wav"),
        "z-short": str(folder / "short.wav"),
    }
    write_scp(folder / "wav.scp", wavs)
    return folder, wavs


def test_the_first_bad_recording_stops_the_run(speaker_exp, bad, tmp_path):
    with pytest.raises(SVError, match=r"a-missing: .*nowhere\.wav") as error:
        embed_wav_scp(speaker_exp, bad[0] / "wav.scp", tmp_path / "out", shard_size=5)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out/xvector.scp").exists()


def test_bad_recordings_are_listed_if_told_to_go_on(speaker_exp, bad, tmp_path):
    folder, wavs = bad
    arguments = (speaker_exp, folder / "wav.scp", tmp_path / "out")
    report = embed_wav_scp(*arguments, skip_bad=True, shard_size=5)
    assert (report.embedded, report.failed) == (len(wavs) - 3, 3)
    failed = dict(
        line.split(" ", 1)
        for line in (tmp_path / "out/failed").read_text().splitlines()
    )
    assert list(failed) == ["a-missing", "y-broken", "z-short"]
    assert "nowhere.wav" in failed["a-missing"] and "too short" in failed["z-short"]
    vectors = read_vectors(tmp_path / "out")
    assert list(vectors) == [name for name in wavs if name not in failed]
    # asking again is answered from what is there, and strictness still holds
    assert embed_wav_scp(*arguments, skip_bad=True, shard_size=5).failed == 3
    with pytest.raises(SVError, match=r"a-missing.*3 of"):
        embed_wav_scp(*arguments, shard_size=5)


def test_nothing_but_bad_recordings_is_an_error(speaker_exp, tmp_path):
    write_scp(tmp_path / "wav.scp", {"utt": "nowhere.wav"})
    with pytest.raises(SVError, match=r"utt: .*nowhere\.wav"):
        embed_wav_scp(
            speaker_exp, tmp_path / "wav.scp", tmp_path / "out", skip_bad=True
        )


def test_an_embedding_that_is_not_finite_is_a_failure(speaker_exp, data, tmp_path):
    broken = shutil.copytree(speaker_exp, tmp_path / "broken")
    state = torch.load(broken / "valid.eer.best.pth", weights_only=True)
    last = [
        name for name in state if name.startswith("head.") and name.endswith("weight")
    ][-1]
    state[last].fill_(float("nan"))
    torch.save(state, broken / "valid.eer.best.pth")
    with pytest.raises(SVError, match="not finite"):
        embed_wav_scp(broken, data[0] / "wav.scp", tmp_path / "out")


def test_commands_run_only_if_allowed(speaker_exp, data, tmp_path):
    folder, wavs = data
    witness = tmp_path / "ran"
    pipes = {
        "piped": f"touch {witness}; cat {wavs['copy-wav']} |",
        "plain": wavs["copy-wav"],
    }
    write_scp(folder / "pipe.scp", pipes)
    with pytest.raises(SVError, match="allow_pipes"):
        embed_wav_scp(speaker_exp, folder / "pipe.scp", tmp_path / "out")
    assert not witness.exists()
    embed_wav_scp(speaker_exp, folder / "pipe.scp", tmp_path / "out", allow_pipes=True)
    vectors = read_vectors(tmp_path / "out")
    np.testing.assert_allclose(vectors["piped"], vectors["plain"], atol=1e-5)


def test_shares_of_a_cluster_are_merged_by_a_last_call(
    speaker_exp, data, tmp_path, counted
):
    folder, wavs = data
    arguments = (speaker_exp, folder / "wav.scp", tmp_path / "out")
    news = [
        embed_wav_scp(*arguments, shard=f"{i}/3", shard_size=4).new for i in (1, 2, 3)
    ]
    assert sum(news) == len(wavs) and min(news) > 0
    assert not (tmp_path / "out/xvector.scp").exists()
    counted.clear()
    report = embed_wav_scp(*arguments, shard_size=4)
    assert (report.embedded, report.new, counted) == (len(wavs), 0, [])
    assert list(read_vectors(tmp_path / "out")) == list(wavs)


def test_several_processes_give_the_same(speaker_exp, data, tmp_path):
    folder, wavs = data
    embed_wav_scp(speaker_exp, folder / "wav.scp", tmp_path / "one")
    report = embed_wav_scp(
        speaker_exp, folder / "wav.scp", tmp_path / "two", nj=2, shard_size=4
    )
    assert report.embedded == len(wavs)
    one, two = read_vectors(tmp_path / "one"), read_vectors(tmp_path / "two")
    assert list(one) == list(two)
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-5)


@pytest.mark.usefixtures("data")
def test_paths_are_as_given_and_work_from_the_recipe(
    speaker_exp, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where the fixture made the folder "data"
    embed_wav_scp(os.path.relpath(speaker_exp), "data/wav.scp", "dump/emb")
    line = (tmp_path / "dump/emb/xvector.scp").read_text().splitlines()[0]
    assert line.split()[1].startswith("dump/emb/xvector.ark:")
    assert len(read_vectors("dump/emb"))


@pytest.mark.parametrize(
    ("content", "message"), [("", "empty"), ("a x.wav\na y.wav\n", "a"), ("a\n", "a")]
)
def test_a_bad_list_is_refused(speaker_exp, tmp_path, content, message):
    (tmp_path / "wav.scp").write_text(content)
    with pytest.raises(SVError, match=rf"wav\.scp.*{message}"):
        embed_wav_scp(speaker_exp, tmp_path / "wav.scp", tmp_path / "out")


def test_more_gpus_than_there_are_is_refused(speaker_exp, data, tmp_path):
    with pytest.raises(SVError, match="cuda:98"):
        embed_wav_scp(speaker_exp, data[0] / "wav.scp", tmp_path / "out", ngpu=99)


def test_other_weights_can_be_chosen(speaker_exp, new_exp, data, tmp_path):
    scp, other = data[0] / "wav.scp", new_exp()
    weights = other / "valid.eer.best.pth"
    embed_wav_scp(speaker_exp, scp, tmp_path / "chosen", model_file=weights)
    embed_wav_scp(other, scp, tmp_path / "other")
    chosen, expected = (
        read_vectors(tmp_path / "chosen"),
        read_vectors(tmp_path / "other"),
    )
    np.testing.assert_array_equal(chosen["slow"], expected["slow"])


@pytest.mark.parametrize(("utterances", "shards"), [(8, 1), (1000, 63), (40_000, 157)])
def test_there_is_work_for_many_processes(utterances, shards):
    assert -(-utterances // default_shard_size(utterances)) == shards


def test_silent_and_cancelling_and_cut_recordings_have_no_embedding(
    speaker_exp, an4, tmp_path
):
    speech, _ = soundfile.read(an4["an251-fash-b"])
    rng = np.random.default_rng(0)
    below = rng.uniform(-0.4, 0.4, 16000) / 2**15
    made = {
        "below.wav": (below, "FLOAT"),
        "opposite.flac": (np.stack([speech, -speech], 1), "PCM_16"),
        "zeros.wav": (np.zeros(16000), "PCM_16"),
    }
    for name, (samples, subtype) in made.items():
        soundfile.write(tmp_path / name, samples, RATE, subtype=subtype)
    whole = (tmp_path / "opposite.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    wavs = {name: str(tmp_path / name) for name in (*made, "cut.flac")}
    wavs["good"] = str(an4["an251-fash-b"])
    write_scp(tmp_path / "wav.scp", wavs)
    arguments = (speaker_exp, tmp_path / "wav.scp", tmp_path / "out")
    report = embed_wav_scp(*arguments, skip_bad=True)
    assert (report.embedded, report.failed) == (1, 4)
    lines = (tmp_path / "out/failed").read_text().splitlines()
    reasons = dict(line.split(" ", 1) for line in lines)
    assert "is silent" in reasons["zeros.wav"] and "is silent" in reasons["below.wav"]
    assert "channels cancel each other" in reasons["opposite.flac"]
    assert "is truncated" in reasons["cut.flac"]


def test_one_channel_can_be_chosen(speaker_exp, an4, tmp_path):
    speech, _ = soundfile.read(an4["an251-fash-b"])
    soundfile.write(tmp_path / "two.wav", np.stack([-speech, speech], 1), RATE)
    wavs = {"u": tmp_path / "two.wav"}
    write_scp(tmp_path / "wav.scp", wavs)
    arguments = (speaker_exp, tmp_path / "wav.scp", tmp_path / "out")
    assert embed_wav_scp(*arguments, channel=2).new == 1
    expected = Speech2Embedding.from_pretrained(speaker_exp)(speech.astype(np.float32))
    np.testing.assert_allclose(
        read_vectors(tmp_path / "out")["u"], expected[0], atol=1e-4
    )
    # another channel is another embedding, not what is there already
    assert embed_wav_scp(*arguments, channel=1).new == 1
