import numpy as np
import pytest
import soxr
import torch

from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.dataset import (
    EmbedDataset,
    TrainDataset,
    collate_embed,
    collate_train,
)
from espnet2_sv.data.kaldi import KaldiTable
from espnet2_sv.data.labels import SpeakerLabels, Speeds
from espnet2_sv.errors import SVError


@pytest.fixture
def corpus(an4_wavs):
    return an4_wavs, {utt: utt.split("-")[1] for utt in an4_wavs}


def train_dataset(corpus, **kwargs):
    wavs, utt2spk = corpus
    options = {"sample_rate": 16000, "crop_seconds": 0.5} | kwargs
    return TrainDataset(
        wavs, utt2spk, SpeakerLabels.from_names(utt2spk.values()), **options
    )


def test_an_example_is_a_crop_with_the_class_of_its_speaker(corpus):
    dataset = train_dataset(corpus)
    wavs, utt2spk = corpus
    classes = sorted(set(utt2spk.values()))
    for i in range(len(dataset)):
        utt, example = dataset[i, 1, i]
        assert classes[example["spk_labels"].item()] == utt2spk[utt]
        windows = np.lib.stride_tricks.sliding_window_view(read_audio(wavs[utt]), 8000)
        assert (windows == example["speech"]).all(axis=1).sum() == 1


def test_every_speed_of_an_utterance_is_an_entry_with_its_own_class(corpus):
    wavs, utt2spk = corpus
    dataset = train_dataset(corpus, speeds=Speeds([0.9, 1.0, 1.1]))
    speakers = sorted(set(utt2spk.values()))
    assert len(dataset) == 3 * len(wavs)
    for entry in range(len(dataset)):
        k, u = divmod(entry, len(wavs))
        prefix, speed = (("", 1.0), ("sp0.9-", 0.9), ("sp1.1-", 1.1))[k]
        utt = list(wavs)[u]
        name, example = dataset[entry, 1, entry]
        assert name == prefix + utt
        assert (
            example["spk_labels"].item()
            == speakers.index(utt2spk[utt]) + len(speakers) * k
        )
        whole = soxr.resample(read_audio(wavs[utt]), 16000 * speed, 16000)
        windows = np.lib.stride_tricks.sliding_window_view(whole, 8000)
        begins = np.abs(windows[:, 0] - example["speech"][0]) < 1e-5  # to compare fewer
        assert np.abs(windows[begins] - example["speech"]).max(axis=1).min() < 1e-5


def test_the_clean_crop_has_the_speed_of_the_augmented_one(corpus):
    options = {"speeds": Speeds([0.9, 1.0]), "keep_clean": True}
    dataset = train_dataset(corpus, augment=lambda speech, rng: 2 * speech, **options)
    _, example = dataset[len(dataset) - 1, 1, 0]
    assert np.array_equal(example["speech"], 2 * example["speech_clean"])


def test_random_choices_follow_from_seed_pass_and_position_alone(corpus):
    def draw(speech, rng):
        return np.append(speech, rng.random()).astype(np.float32)

    dataset = train_dataset(corpus, augment=draw, seed=3)
    first = dataset[4, 2, 17][1]["speech"]
    again = train_dataset(corpus, augment=draw, seed=3)[4, 2, 17][1]["speech"]
    assert np.array_equal(first, again)
    others = [(4, 2, 18), (4, 3, 17), (4, 17, 2)]
    draws = {float(dataset[key][1]["speech"][-1]) for key in [(4, 2, 17), *others]}
    draws.add(
        float(train_dataset(corpus, augment=draw, seed=4)[4, 2, 17][1]["speech"][-1])
    )
    assert len(draws) == 5


def test_the_crop_before_augmentation_comes_along_where_asked(corpus):
    plain = train_dataset(corpus)
    dataset = train_dataset(
        corpus, augment=lambda speech, rng: 2 * speech, keep_clean=True
    )
    keys = [(i, 1, i) for i in (0, 3)]
    _, batch = collate_train([dataset[key] for key in keys])
    _, reference = collate_train([plain[key] for key in keys])
    assert torch.equal(batch["speech_clean"], reference["speech"])
    assert torch.equal(batch["speech"], 2 * reference["speech"])
    assert "speech_clean" not in reference


def test_an_unreadable_utterance_is_named(corpus, tmp_path):
    wavs, utt2spk = corpus
    dataset = train_dataset((wavs | {"an152-mwhw-b": f"{tmp_path}/gone.wav"}, utt2spk))
    places = [dataset.wavs.key(i) for i in range(len(dataset))]
    examples = [dataset[i, 1, i] for i in range(len(dataset))]
    error = examples[places.index("an152-mwhw-b")]
    assert isinstance(error, SVError)
    assert str(error).startswith(
        f"utterance an152-mwhw-b: {tmp_path}/gone.wav: no such"
    )
    assert collate_train(examples) is error


def test_audio_without_speaker_and_speaker_without_audio_are_refused(corpus):
    wavs, utt2spk = corpus
    labels = SpeakerLabels.from_names(utt2spk.values())
    options = {"sample_rate": 16000, "crop_seconds": 1.0}
    with pytest.raises(SVError, match="utt2spk: utterance extra has no speaker"):
        TrainDataset(wavs | {"extra": "x.wav"}, utt2spk, labels, **options)
    with pytest.raises(
        SVError, match=r"utterance lost of utt2spk has no audio \(1 such"
    ):
        TrainDataset(wavs, utt2spk | {"lost": "fash"}, labels, **options)


def test_training_examples_are_collated_for_the_model(corpus):
    dataset = train_dataset(corpus)
    utts, batch = collate_train([dataset[i, 1, i] for i in (0, 3, 5)])
    assert utts == [dataset.wavs.key(i) for i in (0, 3, 5)]
    assert {k: (v.dtype, tuple(v.shape)) for k, v in batch.items()} == {
        "speech": (torch.float32, (3, 8000)),
        "speech_lengths": (torch.int64, (3,)),
        "spk_labels": (torch.int64, (3, 1)),
    }
    assert batch["speech_lengths"].tolist() == [8000] * 3


def test_embedding_examples_are_whole_and_padded_with_zeros(an4_wavs):
    dataset = EmbedDataset(KaldiTable.from_dict(an4_wavs, "wav.scp"), 16000)
    utts, batch = collate_embed([dataset[i] for i in range(len(dataset))])
    assert utts == list(an4_wavs)
    for utt, row, length in zip(
        utts, batch["speech"], batch["speech_lengths"], strict=True
    ):
        assert np.array_equal(row[:length].numpy(), read_audio(an4_wavs[utt]))
        assert not row[length:].any()


def test_a_failure_takes_the_place_of_its_batch(an4_wavs):
    wavs = KaldiTable.from_dict(an4_wavs | {"bad": "gone.wav"}, "wav.scp")
    dataset = EmbedDataset(wavs, 16000)
    failure = collate_embed([dataset[i] for i in range(len(dataset))])
    assert isinstance(failure, SVError)
    assert str(failure).startswith("utterance bad: gone.wav: no such audio file")
