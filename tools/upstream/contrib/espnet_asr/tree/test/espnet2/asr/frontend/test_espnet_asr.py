from argparse import Namespace

import numpy as np
import pytest
import torch
import yaml

from espnet2.asr.frontend.espnet_asr import ESPnetASRFrontend
from espnet2.spk.encoder.conformer_encoder import MfaConformerEncoder
from espnet2.tasks.asr import ASRTask
from espnet2.tasks.spk import SpeakerTask

SIZE = dict(output_size=8, attention_heads=2, num_blocks=3, dropout_rate=0.0)
CONFORMER = dict(
    SIZE,
    linear_units=12,
    rel_pos_type="latest",
    macaron_style=True,
    cnn_module_kernel=3,
)


def write_asr_model(path, encoder, **encoder_conf):
    """Write a random ASR model with statistics that are not those of its features."""
    stats = np.arange(1, 21, dtype=np.float32)
    np.savez(path / "stats.npz", count=1, sum=stats, sum_square=2 * stats**2)
    args = ASRTask.get_parser().parse_args(
        ["--output_dir", str(path), "--encoder", encoder]
    )
    args.token_list = ["<blank>", "a", "<sos/eos>"]
    # Without center, frames do not depend on what follows an utterance
    args.frontend_conf = dict(n_fft=128, hop_length=64, n_mels=20, center=False)
    args.normalize = "global_mvn"
    args.normalize_conf = dict(stats_file=str(path / "stats.npz"))
    args.encoder_conf = dict(encoder_conf)
    args.decoder = None
    args.model_conf = dict(ctc_weight=1.0)
    torch.manual_seed(0)
    model = ASRTask.build_model(args).eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor += 0.1 * torch.rand_like(tensor)
    with (path / "config.yaml").open("w") as f:
        yaml.safe_dump(vars(args), f)
    torch.save(model.state_dict(), path / "model.pth")
    return model


def files(path):
    return dict(
        asr_train_config=str(path / "config.yaml"),
        asr_model_file=str(path / "model.pth"),
    )


@pytest.fixture
def asr_model(tmp_path):
    return write_asr_model(tmp_path, "conformer", **CONFORMER)


@pytest.fixture
def speech():
    lengths = torch.tensor([4000, 2900])
    speech = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    speech[1, 2900:] = 0
    return speech, lengths


@pytest.mark.parametrize(
    "encoder, conf",
    [
        ("conformer", CONFORMER),
        ("transformer", dict(SIZE, linear_units=12)),
        ("e_branchformer", dict(SIZE, cgmlp_linear_units=12, cgmlp_conv_kernel=3)),
        ("branchformer", dict(SIZE, cgmlp_linear_units=12, cgmlp_conv_kernel=3)),
    ],
)
def test_last_block_is_the_asr_encoder_output(tmp_path, speech, encoder, conf):
    asr_model = write_asr_model(tmp_path, encoder, **conf)
    frontend = ESPnetASRFrontend(**files(tmp_path), layer_norm=False).eval()
    feats, lengths = frontend(*speech)
    assert feats.shape[2] == frontend.output_size() == 24
    expected, expected_lengths = asr_model.encode(*speech)
    assert lengths.tolist() == expected_lengths.tolist()
    last = frontend.upstream.encoder.after_norm(feats[:, :, 16:])
    torch.testing.assert_close(last, expected)


def test_equals_mfa_conformer_of_same_weights(tmp_path, asr_model, speech):
    frontend = ESPnetASRFrontend(**files(tmp_path)).eval()
    mfa = MfaConformerEncoder(20, input_layer="conv2d", **CONFORMER).eval()
    weights = asr_model.encoder.state_dict()
    result = mfa.load_state_dict(weights, strict=False)
    assert all(k.startswith("after_norm") for k in result.unexpected_keys)
    assert all(k.startswith("ln") for k in result.missing_keys)
    one = speech[0][:1], speech[1][:1]
    feats, _ = frontend(*one)
    mel, _ = asr_model.normalize(*asr_model.frontend(*one))
    torch.testing.assert_close(feats, mfa(mel).transpose(1, 2))


def test_output_does_not_depend_on_padding(tmp_path, asr_model, speech):
    frontend = ESPnetASRFrontend(**files(tmp_path)).eval()
    feats, lengths = frontend(*speech)
    alone, alone_lengths = frontend(speech[0][1:, :2900], speech[1][1:])
    assert lengths[1] == alone_lengths[0] == alone.size(1)
    torch.testing.assert_close(feats[1:, : lengths[1]], alone)


def test_chosen_blocks(tmp_path, asr_model, speech):
    every, _ = ESPnetASRFrontend(**files(tmp_path), layer_norm=False)(*speech)
    frontend = ESPnetASRFrontend(**files(tmp_path), layer_norm=False, blocks=[2, 0])
    feats, _ = frontend(*speech)
    torch.testing.assert_close(feats, every[:, :, [*range(16, 24), *range(8)]])
    with pytest.raises(ValueError, match="blocks"):
        ESPnetASRFrontend(**files(tmp_path), blocks=[3])


@pytest.mark.parametrize("freeze", [True, False])
def test_freeze(tmp_path, asr_model, speech, freeze):
    frontend = ESPnetASRFrontend(**files(tmp_path), freeze=freeze).train()
    before = {k: v.clone() for k, v in frontend.upstream.state_dict().items()}
    feats, _ = frontend(*speech)
    feats.square().sum().backward()
    grads = {n: p.grad is not None for n, p in frontend.named_parameters()}
    used = [n for n in grads if "after_norm" not in n]
    assert grads["norm.weight"]
    assert all(grads[n] != freeze for n in used if n.startswith("upstream."))
    # Without DDP's find_unused_parameters, all that is trainable must be used
    trainable = [n for n, p in frontend.named_parameters() if p.requires_grad]
    assert all(grads[n] for n in trainable)
    same = [
        torch.equal(before[k], v) for k, v in frontend.upstream.state_dict().items()
    ]
    assert all(same) == freeze  # BatchNorm


def test_names_of_earlier_releases(tmp_path, asr_model, speech):
    expected, _ = ESPnetASRFrontend(**files(tmp_path)).eval()(*speech)
    weights = torch.load(tmp_path / "model.pth")
    for name in ("weight", "bias"):
        new, old = f"encoder.embed.out.{name}", f"encoder.embed.out.0.{name}"
        weights[old] = weights.pop(new)
    torch.save(weights, tmp_path / "model.pth")
    feats, _ = ESPnetASRFrontend(**files(tmp_path)).eval()(*speech)
    torch.testing.assert_close(feats, expected)


@pytest.mark.parametrize("name", ["encoder.after_norm.bias", "normalize.mean"])
def test_missing_weight(tmp_path, asr_model, name):
    weights = torch.load(tmp_path / "model.pth")
    del weights[name]
    torch.save(weights, tmp_path / "model.pth")
    with pytest.raises(RuntimeError, match=f"1 weights are missing.*{name}"):
        ESPnetASRFrontend(**files(tmp_path))


def test_unexpected_weight(tmp_path, asr_model):
    weights = torch.load(tmp_path / "model.pth")
    weights["encoder.encoders.3.norm_mha.bias"] = torch.zeros(8)
    torch.save(weights, tmp_path / "model.pth")
    with pytest.raises(RuntimeError, match="1 unexpected"):
        ESPnetASRFrontend(**files(tmp_path))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(encoder="contextual_block_conformer"), "must be one of"),
        (dict(encoder_conf=dict(interctc_use_conditioning=True)), "self-conditioned"),
        (dict(frontend=None), "no frontend"),
        (dict(frontend_conf=dict(fs=8000)), "fs is 16k"),
    ],
)
def test_unsupported(tmp_path, asr_model, changes, message):
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(dict(config, **changes)))
    with pytest.raises(ValueError, match=message):
        ESPnetASRFrontend(fs="16k", **files(tmp_path))


def test_no_source():
    with pytest.raises(ValueError, match="asr_train_config"):
        ESPnetASRFrontend()


def speaker_args(**frontend_conf):
    args = vars(SpeakerTask.get_parser().parse_args(["--output_dir", "exp"]))
    args.update(
        frontend="espnet_asr",
        frontend_conf=frontend_conf,
        encoder="identity",
        encoder_conf={},
        pooling="stats",
        projector_conf=dict(output_size=4),
        spk_num=3,
    )
    return Namespace(**args)


def test_train_and_load_without_asr_files(tmp_path, asr_model, speech):
    args = speaker_args(**files(tmp_path), freeze=False)
    model = SpeakerTask.build_model(args)
    labels = torch.tensor([[0], [2]])
    loss, _, _ = model(*speech, spk_labels=labels)
    loss.backward()
    torch.optim.SGD(model.parameters(), 0.01).step()
    model.eval()
    expected = model(*speech, extract_embd=True)

    exp = tmp_path / "exp"
    exp.mkdir()
    # AbsTask writes args after it has built the model
    (exp / "config.yaml").write_text(yaml.safe_dump(vars(args)))
    assert str(tmp_path) not in (exp / "config.yaml").read_text()
    torch.save(model.state_dict(), exp / "spk.pth")
    for name in ("config.yaml", "model.pth", "stats.npz"):
        (tmp_path / name).unlink()

    loaded, _ = SpeakerTask.build_model_from_file(exp / "config.yaml", exp / "spk.pth")
    embedding = loaded.eval()(*speech, extract_embd=True)
    torch.testing.assert_close(embedding, expected)

    no_weights, _ = SpeakerTask.build_model_from_file(exp / "config.yaml")
    with pytest.raises(RuntimeError, match="no weights"):
        no_weights(*speech, extract_embd=True)


def test_initialization_keeps_pretrained_weights(tmp_path, asr_model):
    args = speaker_args(**files(tmp_path))
    args.init = "xavier_uniform"
    model = SpeakerTask.build_model(args)
    for name, weight in asr_model.encoder.state_dict().items():
        torch.testing.assert_close(
            model.frontend.upstream.encoder.state_dict()[name], weight
        )
