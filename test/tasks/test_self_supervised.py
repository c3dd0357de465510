"""ASR models on self-supervised features of S3PRL, such as WavLM's."""

import contextlib
import copy
from itertools import groupby
from pathlib import Path

import adaptors
import asr_models
import pytest
import torch
import yaml
from stock_speakers import WAVLM_URL, write_wavlm
from training import SMALL_ADAPTOR, refused

from espnet2_sv import Speech2Embedding, Speech2TextEmbedding
from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.asr.resolve import resolve_asr
from espnet2_sv.asr.supported import backbone_settings
from espnet2_sv.asr.task import ASR
from espnet2_sv.asr.weight_transfer import copy_asr_weights
from espnet2_sv.backbones import front_ends
from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.backbones.frozen import FrozenBackbone
from espnet2_sv.errors import SVError
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.packaging.export import export_onnx
from espnet2_sv.packaging.pack import pack_model
from espnet2_sv.tasks.adaptor import SVAdaptorTask
from espnet2_sv.tasks.distill import SVDistillTask
from espnet2_sv.tasks.sv import SVTask
from espnet2_sv.tasks.transfer import SVTransferTask

pytest.importorskip("s3prl.nn", exc_type=ImportError)
pytestmark = [
    pytest.mark.execution_timeout(300),
    pytest.mark.filterwarnings("ignore"),  # of s3prl and what it imports
]

# As egs2/librispeech/asr1/conf/tuning/train_asr_conformer7_wavlm_large.yaml, smaller
WAVLM_ASR = asr_models.conformer(input_layer="conv2d2") | {
    "frontend": "s3prl",
    "frontend_conf": {
        "frontend_conf": {"upstream": "wavlm_base"},
        "download_dir": "./hub",
        "multilayer_feature": True,
    },
    "preencoder": "linear",
    "preencoder_conf": {"input_size": 48, "output_size": 20},
    "normalize": "utterance_mvn",
    "freeze_param": ["frontend.upstream"],
}


def noise(*samples: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [0.1 * torch.randn(n, generator=generator) for n in samples]


@pytest.fixture(scope="module", autouse=True)
def wavlm(tmp_path_factory):
    """Put a WavLM of three layers where S3PRL keeps the published one."""
    from s3prl.util import download

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "_download_dir", tmp_path_factory.mktemp("s3prl"))
        patch.setattr(download, "set_dir", lambda folder: None)
        write_wavlm(Path(download.urls_to_filepaths(WAVLM_URL, download=False)))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory, wavlm) -> asr_models.Trained:
    made = asr_models.train(tmp_path_factory.mktemp("s3prl_asr") / "recipe", WAVLM_ASR)
    adaptors.vary_best_token(made.stock)
    made.save_weights(made.stock.state_dict())
    return made


@pytest.fixture
def train(training_command, trained):
    """A function that trains three steps, or resumes a training."""

    def run(task, folder, *more, **options):
        options = {"asr": trained.exp, "resume": "true"} | options
        options = {name: value for name, value in options.items() if value is not None}
        task.main(cmd=[*training_command(folder, **options), *more])
        return folder

    return run


@torch.no_grad()
def stock_blocks(model, speech: torch.Tensor) -> list[torch.Tensor]:
    """Block outputs (T, D) that ESPnet's own modules compute from speech (S,)."""
    feats, lengths = model.frontend(speech[None], torch.tensor([len(speech)]))
    feats, lengths = model.normalize(feats, lengths)
    feats, lengths = model.preencoder(feats, lengths)
    (_, blocks), _, _ = model.encoder(feats, lengths, return_all_hs=True)
    return [block[0] for block in blocks]


@torch.no_grad()
def test_blocks_are_those_of_espnets_encoder(trained):
    bundle = load_asr_bundle(trained.pack())
    summary = bundle.summary()
    assert (summary["sample_rate"], summary["hop_length"]) == (16000, 320)
    assert (summary["subsampling"], summary["frame_rate_hz"]) == (2, 25.0)
    backbone = bundle.backbone()
    assert backbone.padding_sensitive and backbone.one_thread
    copied = build_backbone(backbone_settings(bundle.args))
    assert str(copy_asr_weights(bundle, copied)).endswith("0 missing, 0 unexpected")
    for samples in (16000, 9001, 9000, backbone.minimum_samples):
        a, b = noise(samples, samples, seed=samples)
        pair = torch.stack([a, b]), torch.tensor([samples, samples])
        for ours in (backbone, copied.eval()):
            blocks, frames = ours(*pair)
            assert torch.equal(ours.output_frames(pair[1]), frames)
            for row, wave in enumerate((a, b)):
                expected = stock_blocks(trained.stock, wave)
                assert len(blocks) == len(expected) == 3
                for found, block in zip(blocks, expected, strict=True):
                    assert frames[row] == len(block)
                    error = (found[row] - block).abs().max()
                    assert error < 1e-5 * block.abs().max()
    with pytest.raises(SVError, match=f"at least {backbone.minimum_samples} "):
        backbone(torch.zeros(1, backbone.minimum_samples - 1), torch.tensor([1920]))


def test_the_self_supervised_model_is_never_trained(trained):
    bundle = load_asr_bundle(trained.exp)
    backbone = build_backbone(backbone_settings(bundle.args, 2)).train()
    upstream = backbone.frontend.upstream
    assert backbone.encoder.training and not any(m.training for m in upstream.modules())
    assert not any(p.requires_grad for p in upstream.parameters())
    assert not backbone.frontend.pretrained_params  # as much as the model again
    backbone.set_frozen(True)
    backbone.set_frozen(False)
    speech = torch.stack(noise(9000, 9000)), torch.tensor([9000, 9000])
    backbone(*speech)[0][-1].sum().backward()
    with_gradient = {n for n, p in backbone.named_parameters() if p.grad is not None}
    groups = dict(backbone.parameter_groups())
    assert with_gradient == {
        name for name, p in backbone.named_parameters() if p.requires_grad
    }
    assert "frontend.featurizer.weights" in with_gradient
    assert "preencoder.linear_out.weight" in with_gradient
    assert sum(map(len, groups.values())) == len(with_gradient)


def test_weights_of_earlier_versions_are_the_same_model(trained, tmp_path):
    new = load_asr_bundle(trained.exp)
    state = {
        name.replace("frontend.upstream.upstream.", "frontend.upstream."): tensor
        for name, tensor in trained.stock.state_dict().items()
    }
    assert state.keys() != trained.stock.state_dict().keys()
    old = tmp_path / "exp"
    old.mkdir()
    (old / "config.yaml").write_text(trained.config.read_text())
    torch.save(state, old / "valid.acc.ave.pth")
    assert load_asr_bundle(old).weights_sha256 == new.weights_sha256


def test_a_resolved_model_is_one_for_espnet(trained, tmp_path):
    with contextlib.chdir(tmp_path):
        summary = resolve_asr(trained.pack(), "exp/asr")
        stock, _ = ASR.task_class().build_model_from_file(
            "exp/asr/config.yaml", "exp/asr/model.pth"
        )
    assert summary["frame_rate_hz"] == 25.0
    [wave] = noise(9000)
    expected = stock_blocks(trained.stock, wave)
    for found, block in zip(stock_blocks(stock.eval(), wave), expected, strict=True):
        assert torch.equal(found, block)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frontend_conf": {"upstream": "wavlm_local", "path_or_url": "x.pt"}}, "code"),
        ({"frontend_conf": {"upstream": "wavlm_base", "extra_conf": {"a": 1}}}, "code"),
        ({"frontend_conf": {"upstream": "wavlm_base", "tile_factor": 2}}, "repeats"),
        ({"frontend_conf": {"upstream": "no_such_model"}}, "cannot build"),
        ({"normalize": "global_mvn"}, "global_mvn"),
        ({"preencoder": "sinc", "preencoder_conf": {}}, "preencoder 'sinc'"),
    ],
)
def test_what_is_refused(trained, tmp_path, changes, message):
    conf = copy.deepcopy(trained.conf)
    if "frontend_conf" in changes:
        conf["frontend_conf"]["frontend_conf"] = changes["frontend_conf"]
    else:
        conf |= changes
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(conf))
    (tmp_path / "valid.acc.ave.pth").write_bytes(trained.weights.read_bytes())
    refused(lambda: load_asr_bundle(tmp_path), message)


def test_without_the_package(trained, monkeypatch):
    monkeypatch.setattr(front_ends.importlib.util, "find_spec", lambda name: None)
    refused(lambda: load_asr_bundle(trained.exp), "pip install espnet-s3prl")


@torch.no_grad()
def test_mixed_precision_casts_the_frozen_encoder_only(trained):
    bundle = load_asr_bundle(trained.exp)
    frozen = FrozenBackbone(bundle.backbone(), "00" * 32).train()
    speech = torch.stack(noise(9000, 9000)), torch.tensor([9000, 9000])
    expected, _ = frozen(*speech)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = frozen(*speech)
        copied = frozen.in_autocast(frozen.running, torch.device("cpu"))
    assert copied is not frozen.running
    assert copied.frontend is frozen.frontend
    for ours, exact in zip(found, expected, strict=True):
        assert (ours - exact).abs().max() < 0.1 * exact.abs().max()


def embeddings_do_not_depend_on_batches(folder) -> None:
    embedder = Speech2Embedding.from_pretrained(folder).embedder
    waves = [x.numpy() for x in noise(9000, 16000, 9000, 9001, 20000, 16000)]
    together = embedder(waves)
    alone = torch.cat([embedder([wave]) for wave in waves])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_transfer(train, trained, tmp_path):
    start = train(
        SVTransferTask, tmp_path / "start", optim_conf="lr=0.0", freeze_encoder_epochs=1
    )
    [wave] = noise(9000)
    blocks, _ = load_speaker_model(start)[0].backbone(wave[None], torch.tensor([9000]))
    for found, expected in zip(blocks, stock_blocks(trained.stock, wave), strict=True):
        torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-5)
    options = {"freeze_encoder_epochs": 0, "asr_num_blocks": 2}
    folder = train(SVTransferTask, tmp_path / "exp", **options)
    before = torch.load(folder / "latest.pth", weights_only=True)
    train(SVTransferTask, folder, **options, max_epoch=2)  # resumes
    after = torch.load(folder / "latest.pth", weights_only=True)
    changed = {n for n in after if not torch.equal(after[n], before[n])}
    assert "backbone.frontend.featurizer.weights" in changed
    assert not [n for n in changed if ".upstream." in n]
    embeddings_do_not_depend_on_batches(folder)
    refused(lambda: export_onnx(folder, tmp_path / "x.onnx"), "self-supervised")
    tuned = train(SVTransferTask, tmp_path / "tuned", asr="", init_sv=folder)
    assert load_speaker_model(tuned)[0].backbone.num_blocks == 2


def stock_texts(trained: asr_models.Trained, wave: torch.Tensor, **options) -> dict:
    """Transcripts of ESPnet's recogniser: by its search, and the best path."""
    with contextlib.chdir(trained.root):
        config, weights = str(trained.config), str(trained.weights)
        stock = ASR.recogniser_class()(config, weights, **options)
    model, lengths = stock.asr_model, torch.tensor([len(wave)])
    frames = model.ctc.argmax(asr_models.encode(model, wave[None], lengths)[0])[0]
    ids = [token for token, _ in groupby(frames.tolist())]
    silent = (model.blank_id, model.eos)
    tokens = stock.converter.ids2tokens([token for token in ids if token not in silent])
    return {
        "beam": stock(wave.numpy())[0][0],
        "greedy": stock.tokenizer.tokens2text(tokens),
    }


def test_adaptor_and_text_from_one_pass(train, trained, tmp_path):
    folder = train(SVAdaptorTask, tmp_path / "exp", *SMALL_ADAPTOR)
    state = torch.load(folder / "latest.pth", weights_only=True)
    assert [n for n in state if n.startswith("backbone.")] == ["backbone.asr_sha256"]
    embeddings_do_not_depend_on_batches(folder)
    [wave] = noise(16000)
    expected = Speech2Embedding.from_pretrained(folder)(wave.numpy())
    texts = stock_texts(trained, wave, beam_size=2)
    assert texts["beam"] != texts["greedy"] and min(map(len, texts.values())) > 3
    for decode, options in (("greedy", {}), ("beam", {"beam_size": 2})):
        both = Speech2TextEmbedding.from_pretrained(folder, decode=decode, **options)
        frontend, passes = both.asr_model.frontend, []
        frontend.register_forward_hook(lambda *_, seen=passes: seen.append(1))
        text, embedding = both(wave.numpy())
        assert text == texts[decode]
        assert len(passes) == 1
        torch.testing.assert_close(embedding, expected, rtol=1e-5, atol=1e-6)


def test_distillation(train, tmp_path):
    options = {"freeze_encoder_epochs": 0, "init_asr": "teacher"}
    branch = ("--branch_conf", "num_blocks=0")
    folder = train(SVDistillTask, tmp_path / "exp", *branch, **options)
    embeddings_do_not_depend_on_batches(folder)


def test_a_network_from_random_weights(train, tmp_path):
    conf = "frontend_conf={upstream: wavlm_base}"
    network = ["--frontend", "s3prl", "--frontend_conf", conf]
    network += ["--frontend_conf", "multilayer_feature=true", "--head", "pooled"]
    network += ["--encoder", "ecapa_tdnn", "--encoder_conf", "ndim=16"]
    network += ["--encoder_conf", "output_size=24"]
    folder = train(SVTask, tmp_path / "exp", *network, asr=None)
    embeddings_do_not_depend_on_batches(folder)
    packed = tmp_path / "model.zip"
    pack_model(folder, packed)
    [wave] = noise(16000)
    found = Speech2Embedding.from_pretrained(packed)(wave.numpy())
    expected = Speech2Embedding.from_pretrained(folder)(wave.numpy())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
