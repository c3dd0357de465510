import sys
import tracemalloc

import numpy as np
import pytest

from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.iter_factory import EmbedIterFactory, TrainIterFactory
from espnet2_sv.data.labels import SpeakerLabels, Speeds
from espnet2_sv.errors import SVError


def train_factory(wavs, **kwargs):
    utt2spk = {utt: utt.split("-")[1] for utt in wavs}
    labels = SpeakerLabels.from_names(utt2spk.values())
    options = {
        "sample_rate": 16000,
        "crop_seconds": 0.25,
        "batch_size": 4,
        "seed": 5,
    } | kwargs
    return TrainIterFactory(wavs, labels, utt2spk, **options)


@pytest.fixture
def augment_conf(an4):
    noise = {path.stem: str(path) for path in an4.glob("noise/*.wav")}
    rirs = {path.stem: str(path) for path in an4.glob("rirs/*.wav")}
    return {
        "apply_prob": 0.9,
        "noise": [{"scp": noise, "num": [1, 2]}],
        "rir": {"scp": rirs},
    }


def epoch_of(factory, epoch):
    return [
        (utt, batch["speech"][i].numpy(), batch["spk_labels"][i].item())
        for utts, batch in factory.build_iter(epoch)
        for i, utt in enumerate(utts)
    ]


def same(a, b):
    return len(a) == len(b) and all(
        x[0] == y[0] and np.array_equal(x[1], y[1]) and x[2] == y[2]
        for x, y in zip(a, b, strict=True)
    )


def test_examples_do_not_depend_on_the_number_of_workers(an4_wavs, augment_conf):
    alone = epoch_of(train_factory(an4_wavs, augment_conf=augment_conf), 1)
    two = epoch_of(train_factory(an4_wavs, augment_conf=augment_conf, num_workers=2), 1)
    assert same(alone, two)


def test_examples_do_not_depend_on_the_number_of_ranks(an4_wavs, augment_conf):
    whole = epoch_of(train_factory(an4_wavs, augment_conf=augment_conf), 2)
    ranks = [
        epoch_of(
            train_factory(an4_wavs, augment_conf=augment_conf, rank=r, world_size=2), 2
        )
        for r in (0, 1)
    ]
    together = [example for pair in zip(*ranks, strict=True) for example in pair]
    assert same(whole, together)


def test_an_epoch_has_every_utterance_at_every_speed(an4_wavs):
    speeds = Speeds([0.9, 1.0, 1.1])
    factory = train_factory(an4_wavs, speeds=speeds, batch_size=6)
    utts = [utt for utt, _, _ in epoch_of(factory, 1)]
    expected = [p + utt for utt in an4_wavs for p in ("", "sp0.9-", "sp1.1-")]
    assert len(expected) == 24
    assert sorted(utts) == sorted(expected)


def test_speeds_do_not_depend_on_ranks_workers_or_earlier_epochs(
    an4_wavs, augment_conf
):
    options = {"speeds": Speeds([0.9, 1.0, 1.1]), "augment_conf": augment_conf}
    whole = epoch_of(train_factory(an4_wavs, **options), 2)
    assert same(whole, epoch_of(train_factory(an4_wavs, **options, num_workers=2), 2))
    ranks = [
        epoch_of(train_factory(an4_wavs, **options, rank=r, world_size=2), 2)
        for r in (0, 1)
    ]
    assert same(
        whole, [example for pair in zip(*ranks, strict=True) for example in pair]
    )


def set_up(folder, utterances):
    """Set up an epoch of three speeds; return function calls and peak bytes."""
    utts = [f"id{i % 100:05d}-{i:016d}" for i in range(utterances)]
    (folder / "wav.scp").write_text(
        "".join(f"{u} /data/vox2/dev/aac/{u}.m4a\n" for u in utts)
    )
    (folder / "utt2spk").write_text("".join(f"{u} {u[:7]}\n" for u in utts))
    labels = SpeakerLabels.from_names({u[:7] for u in utts})
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    sys.setprofile(count)
    factory = TrainIterFactory(
        folder / "wav.scp",
        labels,
        folder / "utt2spk",
        sample_rate=16000,
        crop_seconds=3.0,
        batch_size=64,
        seed=0,
        speeds=Speeds([0.9, 1.0, 1.1]),
    )
    batches = factory.sampler.generate(1)
    sys.setprofile(None)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(factory.dataset) == 3 * utterances
    assert len(batches) == -(-3 * utterances // 64)
    return calls, most


def test_a_large_corpus_starts_without_work_or_objects_for_each_utterance(tmp_path):
    """At 1.1 million utterances, 300 bytes each are 0.3 GiB besides the imports."""
    few_calls, few_bytes = set_up(tmp_path, 100_000)
    many_calls, many_bytes = set_up(tmp_path, 200_000)
    assert many_calls < few_calls + 1000
    assert many_bytes - few_bytes < 300 * 100_000


def test_epochs_differ_and_come_back_when_repeated(an4_wavs, augment_conf):
    factory = train_factory(an4_wavs, augment_conf=augment_conf)
    first = epoch_of(factory, 1)
    assert not same(first, epoch_of(factory, 2))
    assert same(first, epoch_of(train_factory(an4_wavs, augment_conf=augment_conf), 1))
    speech = np.stack([x[1] for epoch in (1, 2, 3) for x in epoch_of(factory, epoch)])
    assert len(np.unique(speech, axis=0)) == len(speech)


def test_a_tiny_corpus_fills_a_batch_with_different_crops(an4_wavs):
    wavs = {utt: an4_wavs[utt] for utt in ("an152-mwhw-b", "cen7-fash-b")}
    factory = train_factory(wavs, batch_size=6, num_iters_per_epoch=3)
    assert len(factory.build_iter(1)) == 3
    for utts, batch in factory.build_iter(1):
        assert sorted(utts) == ["an152-mwhw-b"] * 3 + ["cen7-fash-b"] * 3
        assert len(np.unique(batch["speech"].numpy(), axis=0)) == 6


@pytest.mark.parametrize("num_workers", [0, 1])
def test_training_stops_with_one_line_at_an_unreadable_utterance(
    an4_wavs, tmp_path, num_workers
):
    wavs = an4_wavs | {"cen8-mwhw-b": f"{tmp_path}/gone.wav"}
    factory = train_factory(wavs, num_workers=num_workers)
    with pytest.raises(SVError) as error:
        epoch_of(factory, 1)
    assert str(error.value).startswith("utterance cen8-mwhw-b: ")
    assert "\n" not in str(error.value)


def embed(wavs, utterances=None, **kwargs):
    options = {"sample_rate": 16000, "batch_size": 3} | kwargs
    wanted = wavs if utterances is None else utterances
    return list(EmbedIterFactory(wavs, wanted, **options).build_iter())


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_utterance_comes_once_and_whole(an4_wavs, num_workers):
    batches = embed(an4_wavs, [*an4_wavs, *an4_wavs], num_workers=num_workers)
    assert sorted(utt for utts, _ in batches for utt in utts) == sorted(an4_wavs)
    for utts, batch in batches:
        assert set(batch) == {"speech", "speech_lengths"}
        for utt, row, length in zip(
            utts, batch["speech"], batch["speech_lengths"], strict=True
        ):
            assert np.array_equal(row[:length].numpy(), read_audio(an4_wavs[utt]))


@pytest.mark.parametrize("seconds", [0.5, 1.5, 4.0])
def test_batches_are_bounded_by_their_padded_duration(an4_wavs, seconds):
    batches = embed(an4_wavs, batch_size=256, batch_seconds=seconds)
    assert sorted(utt for utts, _ in batches for utt in utts) == sorted(an4_wavs)
    bound = seconds * 16000
    assert all(len(u) == 1 or b["speech"].numel() <= bound for u, b in batches)


def test_ranks_share_the_utterances(an4_wavs):
    ranks = [embed(an4_wavs, batch_size=2, rank=r, world_size=3) for r in range(3)]
    utts = [utt for batches in ranks for batch in batches for utt in batch[0]]
    assert sorted(utts) == sorted(an4_wavs)
    assert {len(batches) for batches in ranks} <= {1, 2}


def test_only_equal_lengths_are_batched_where_asked(write_wav, write_m4a, noise):
    wavs = {f"u{i}": write_wav(f"{i}.wav", 1000 + 50 * (i % 2)) for i in range(5)}
    wavs |= {
        "m1": write_m4a("m1.m4a", noise(1000)),
        "m2": write_m4a("m2.m4a", noise(1000)),
    }
    batches = embed(wavs, equal_lengths_only=True)
    for _, batch in batches:
        assert len(set(batch["speech_lengths"].tolist())) == 1
    assert sorted(sorted(utts) for utts, _ in batches) == [
        ["m1"], ["m2"], ["u0", "u2", "u4"], ["u1", "u3"]
    ]  # fmt: skip


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_utterance_that_cannot_be_read_is_named(
    an4_wavs, tmp_path, write_wav, num_workers
):
    with pytest.raises(SVError, match=r"^utterance bad1: .*no such audio file"):
        embed(an4_wavs | {"bad1": f"{tmp_path}/gone.wav"}, num_workers=num_workers)
    broken = write_wav("nan.wav", np.full(8000, np.nan), subtype="FLOAT")
    with pytest.raises(SVError, match=r"^utterance bad2: .*NaN"):
        embed(an4_wavs | {"bad2": broken}, num_workers=num_workers)


def test_commands_are_not_run(write_wav):
    with pytest.raises(SVError, match="--allow_pipes"):
        embed({"u": f"cat {write_wav('a.wav', 4000)} |"})


def test_an_unknown_utterance_is_named(an4_wavs):
    with pytest.raises(SVError, match=r"wav\.scp: has no utterance nobody"):
        embed(an4_wavs, ["an152-mwhw-b", "nobody"])
