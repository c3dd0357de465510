"""OWSM (task s2t) gives what ESPnet's own encoder and recogniser give."""

import contextlib
import shutil
from pathlib import Path

import asr_models
import pytest
import torch
import yaml

from espnet2_sv.asr import load_asr_bundle, resolve_asr
from espnet2_sv.asr.recogniser import Recogniser
from espnet2_sv.asr.task import task_of
from espnet2_sv.errors import SVError
from espnet2_sv.zoo.files import find_model_files

pytestmark = pytest.mark.execution_timeout(200)

RATE = 16000
PUBLISHED = ["owsm_v1", "owsm_v3", "owsm_v3.1_ebf", "owsm_v4_base"]


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * RATE), generator=generator)


@pytest.mark.parametrize("name", PUBLISHED)
@torch.no_grad()
def test_blocks_are_those_of_espnets_encoder(name, train_asr, speech):
    trained = train_asr(name)
    backbone = load_asr_bundle(trained.pack()).backbone()
    audio, lengths = speech
    blocks, frames = backbone(audio, lengths)
    for row, length in enumerate(lengths.tolist()):  # one by one, unpadded
        alone = audio[row : row + 1, :length], lengths[row : row + 1]
        feats, feats_lengths = trained.stock.frontend(*alone)
        feats, _ = trained.stock.normalize(feats, feats_lengths)
        (last, expected), _, _ = trained.stock.encoder(
            feats, feats_lengths, return_all_hs=True
        )
        assert len(blocks) == len(expected) == 3
        assert frames[row] == expected[0].shape[1]
        for ours, theirs in zip(blocks, expected, strict=True):
            error = (ours[row, : frames[row]] - theirs[0]).abs().max()
            assert error < 1e-5 * theirs.abs().max()
        assert torch.allclose(trained.stock.encode(*alone)[0], last)
    assert torch.equal(backbone.output_frames(lengths), frames)


def older_names(state: dict) -> dict:
    """As ESPnet 202511 and earlier name the subsampling projection."""
    renamed = {
        name.replace("encoder.embed.out.", "encoder.embed.out.0."): tensor
        for name, tensor in state.items()
    }
    assert len(renamed.keys() - state.keys()) == 2
    return renamed


@pytest.mark.parametrize("name", [*PUBLISHED, "owsm_ctc_v3.1", "owsm_ctc_v4"])
@torch.no_grad()
def test_weights_of_older_versions_are_the_same_model(name, train_asr, speech):
    trained = train_asr(name)
    new = load_asr_bundle(trained.exp)
    trained.save_weights(older_names(trained.stock.state_dict()))
    with contextlib.chdir(trained.root):
        task = task_of(trained.conf).task_class()
        stock, _ = task.build_model_from_file(trained.config, trained.weights)
    expected = asr_models.encode(stock.eval(), *speech)[0]
    for old in (load_asr_bundle(trained.exp), load_asr_bundle(trained.pack())):
        assert old.weights_sha256 == new.weights_sha256
        assert torch.equal(asr_models.encode(old.model, *speech)[0], expected)
        blocks = zip(
            old.backbone()(*speech)[0], new.backbone()(*speech)[0], strict=True
        )
        assert all(torch.equal(ours, theirs) for ours, theirs in blocks)


@pytest.mark.parametrize("name", ["owsm_v4_base", "owsm_ctc_v4"])
def test_a_resolved_model_is_one_for_espnet(name, train_asr, tmp_path, speech):
    trained = train_asr(name)
    packed, task = trained.pack(), task_of(trained.conf)
    with contextlib.chdir(tmp_path):
        summary = resolve_asr(packed, "exp/asr")
        shutil.rmtree(trained.root)
        stock, _ = task.task_class().build_model_from_file(
            "exp/asr/config.yaml", "exp/asr/model.pth"
        )
        meta = yaml.safe_load(Path("exp/asr/meta.yaml").read_text())
    assert summary["task"] == task.name
    assert meta["yaml_files"] == {"s2t_train_config": "config.yaml"}
    assert meta["files"] == {"s2t_model_file": "model.pth"}
    assert summary["subsampling"] == 8 and summary["frame_rate_hz"] == 12.5
    assert summary["has_ctc"]
    found, _ = asr_models.encode(stock.eval(), *speech)
    assert torch.equal(found, asr_models.encode(trained.stock, *speech)[0])


def load(zoo, decode: str, **options) -> Recogniser:
    files = find_model_files(zoo.asr("owsm"), "asr")
    return Recogniser.load(files, "cpu", decode, **options)


def test_greedy_text_is_that_of_best_path(zoo):
    stock, recogniser = zoo.stock("owsm"), load(zoo, "greedy")
    waves = [noise(1.3), noise(2.1, 1), noise(0.4, 2)]
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    lengths = torch.tensor([len(wave) for wave in waves])
    transcripts, captured = recogniser(padded, lengths)
    for wave, transcript in zip(waves, transcripts, strict=True):
        [(_, tokens, ids, text, _)] = stock.best_path(wave)
        assert len(tokens) > 2
        assert transcript.text == text
        assert transcript.tokens == tokens
        assert transcript.token_ids == ids
    # as without padding to 30 s
    expected = recogniser.backbone(padded, lengths)[1]
    assert torch.equal(captured.lengths, expected)
    assert (
        captured.blocks[0].shape[1]
        == stock.s2t_model.encode(torch.zeros(1, 30 * RATE), torch.tensor([30 * RATE]))[
            0
        ].shape[1]
    )


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 2, "maxlenratio": 0.02},
        {"beam_size": 2, "maxlenratio": 0.02, "ctc_weight": 0.3},
        {"beam_size": 2, "maxlenratio": 0.02, "lang_sym": "<deu>"},
        {"beam_size": 2, "maxlenratio": 0.02, "task_sym": "<st_deu>"},
    ],
)
def test_beam_search_is_espnets(zoo, options):
    speech = noise(1.1)
    stock, recogniser = zoo.stock("owsm", **options), load(zoo, "beam", **options)
    encoded = []
    recogniser.asr_model.encoder.register_forward_hook(lambda *_: encoded.append(True))
    [transcript], captured = recogniser(speech[None], torch.tensor([len(speech)]))
    expected = stock(speech)[0]
    assert transcript.text == expected[3]
    assert transcript.token_ids == expected[2]
    assert len(encoded) == 1
    alone = recogniser.backbone(speech[None], torch.tensor([len(speech)]))
    assert torch.equal(captured.lengths, alone[1])


@pytest.mark.parametrize("seconds", [0.01, 30.1])
@pytest.mark.parametrize("decode", ["greedy", "beam"])
def test_what_padding_would_hide_or_trimming_lose_is_refused(zoo, seconds, decode):
    speech = noise(seconds)
    with pytest.raises(SVError, match=r"takes 0\.\d+ to 30 s") as error:
        load(zoo, decode)(speech[None], torch.tensor([len(speech)]))
    assert "\n" not in str(error.value)


def test_an_option_of_another_task_is_refused(zoo):
    with pytest.raises(SVError, match="'lang_sym' is unknown"):
        Recogniser.load(
            find_model_files(zoo.asr("ctc"), "asr"), "cpu", "beam", lang_sym="<eng>"
        )
    with pytest.raises(SVError, match="'transducer_conf' is unknown"):
        load(zoo, "beam", transducer_conf={})
