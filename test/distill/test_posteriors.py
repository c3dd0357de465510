import numpy as np
import pytest
import torch

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.bin.sv_teacher_posteriors import main as write
from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.dataset import TrainDataset, collate_train
from espnet2_sv.data.labels import SpeakerLabels, Speeds
from espnet2_sv.distill.posteriors import PosteriorTable
from espnet2_sv.distill.teacher import Teacher
from espnet2_sv.errors import SVError
from espnet2_sv.tasks.distill import SVDistillTask

TOP_K = 3
SHIFT = 4 * 160  # frame shift of the teacher in samples


@pytest.fixture
def folder(asr_exp, corpus, tmp_path):
    """Precomputed posteriors of the tiny corpus."""
    out = tmp_path / "posteriors"
    command = ["--asr", str(asr_exp), "--wav_scp", f"{corpus.root}/wav.scp"]
    write([*command, "--output_dir", str(out), "--top_k", str(TOP_K)])
    return out


@pytest.fixture
def train(training_command, corpus, asr_exp, small_network):
    def run(exp, network=(), **options):
        command = training_command(exp, asr=asr_exp, **options)
        branch = ["--branch_conf", "heads=2", "--branch_conf", "kernel=7"]
        kd = ["--kd_conf", f"top_k={TOP_K}"]
        SVDistillTask.main(cmd=[*command, *small_network, *branch, *kd, *network])
        reporter = torch.load(exp / "checkpoint.pth", weights_only=True)["reporter"]
        return reporter["stats"][1]["train"]

    return run


def dataset(corpus, posteriors, seconds, **options):
    return TrainDataset(
        f"{corpus.root}/wav.scp",
        f"{corpus.root}/utt2spk",
        SpeakerLabels.from_spk2utt(f"{corpus.root}/spk2utt"),
        sample_rate=16000,
        crop_seconds=seconds,
        posteriors=posteriors,
        **options,
    )


@torch.no_grad()
def test_posteriors_of_a_crop_are_those_of_the_whole_utterance_at_its_position(
    asr_exp, corpus, folder
):
    teacher = Teacher(load_asr_bundle(asr_exp)).eval()
    data = dataset(corpus, PosteriorTable(folder), seconds=0.5)
    starts = set()
    for position in range(12):
        utt, example = data[position, 1, position]
        speech = read_audio(f"{corpus.root}/wav/{utt}.wav")
        windows = np.lib.stride_tricks.sliding_window_view(speech, 8000)
        start = int((windows == example["speech"]).all(axis=1).argmax())
        assert start % SHIFT == 0
        starts.add(start)
        hidden, _ = teacher.encode(
            torch.from_numpy(speech)[None], torch.tensor([len(speech)])
        )
        probs, classes = teacher.log_probs(hidden)[0].exp().topk(TOP_K)
        first, valid = start // SHIFT, int(example["kd_lengths"])
        assert 8000 // SHIFT - 2 <= valid <= len(example["kd_probs"]) == 8000 // SHIFT
        there = slice(first, first + valid)
        assert torch.equal(
            torch.from_numpy(example["kd_classes"])[:valid], classes[there]
        )
        found = torch.from_numpy(example["kd_probs"])[:valid]
        torch.testing.assert_close(found[:, :TOP_K], probs[there])
        torch.testing.assert_close(found.sum(dim=1), torch.ones(valid))
    assert len(starts) > 3


def test_repeated_audio_is_not_counted(corpus, folder):
    data = dataset(corpus, PosteriorTable(folder), seconds=3.0)
    _, batch = collate_train([data[i, 1, i] for i in (0, 1)])
    for i, lengths in enumerate(batch["kd_lengths"].tolist()):
        utt = data.wavs.key(i)
        seconds = len(read_audio(f"{corpus.root}/wav/{utt}.wav")) / 16000
        assert 0 < seconds * 25 - lengths <= 2
        assert not batch["kd_probs"][i, lengths:].any()


def test_cached_posteriors_give_nearly_the_loss_of_a_running_teacher(
    train, folder, tmp_path, monkeypatch
):
    running = train(tmp_path / "running", optim_conf="lr=0.0")
    monkeypatch.setattr(Teacher, "encode", None)  # not called
    cached = train(tmp_path / "cached", optim_conf="lr=0.0", teacher_posteriors=folder)
    # The crops differ, and the teacher has more context in a whole utterance.
    assert cached["loss_kd"] == pytest.approx(running["loss_kd"], rel=0.25)
    assert cached["kd_teacher_blank"] == pytest.approx(
        running["kd_teacher_blank"], abs=0.25
    )


def test_posteriors_of_other_data_or_settings_are_rejected(
    train, asr_exp, corpus, folder, tmp_path
):
    interpolate = ["--kd_conf", "alignment=interpolate"]
    interpolate += ["--encoder_conf", "input_layer=conv2d8"]
    speeds = ["--speed_perturb_factors", "0.9", "1.0"]
    for options, network, message in [
        ({}, ["--kd_conf", "temperature=2.0"], "temperature 1.0, .* has 2.0"),
        ({}, ["--kd_conf", "top_k=2"], "top_k 3, this training has 2"),
        ({"teacher_input": "augmented"}, [], "give --teacher_input clean"),
        ({"teacher_posteriors": tmp_path}, [], "no complete posteriors"),
        ({}, interpolate, "stay at the teacher's 25 Hz"),
        ({}, speeds, "factors has 0.9: .* original speed"),
    ]:
        with pytest.raises(SVError, match=message):
            train(tmp_path / "exp", network, **{"teacher_posteriors": folder} | options)
    other = tmp_path / "wav.scp"
    other.write_text((corpus.root / "wav.scp").read_text().replace("/wav/", "/./wav/"))
    path = f"{other},speech,sound"
    with pytest.raises(SVError, match="wav_scp_sha256"):
        train(
            tmp_path / "exp",
            teacher_posteriors=folder,
            train_data_path_and_name_and_type=path,
        )


def test_the_dataset_rejects_posteriors_with_speed_perturbation(corpus, folder):
    with pytest.raises(SVError, match=r"factors has 1\.1: .* original speed"):
        dataset(corpus, PosteriorTable(folder), seconds=0.5, speeds=Speeds([1.0, 1.1]))


def test_a_running_teacher_supports_speed_perturbation(train, tmp_path):
    stats = train(tmp_path / "exp", ["--speed_perturb_factors", "0.9", "1.0", "1.1"])
    assert np.isfinite(stats["loss_kd"])
    state = torch.load(tmp_path / "exp/latest.pth", weights_only=True)
    assert len(state["loss.weight"]) == 12


def test_an_unreadable_utterance_leaves_no_output(asr_exp, tmp_path):
    (tmp_path / "wav.scp").write_text(f"a {tmp_path}/gone.wav\n")
    command = ["--asr", str(asr_exp), "--wav_scp", f"{tmp_path}/wav.scp"]
    with pytest.raises(SVError, match=r"utterance a: .*gone\.wav"):
        write([*command, "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
