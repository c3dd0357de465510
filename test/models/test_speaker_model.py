import pytest
import torch

from espnet2.spk.loss.aamsoftmax import AAMSoftmax
from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.heads.mfa import MFAHead
from espnet2_sv.models.speaker_model import SpeakerModel

SETTINGS = {
    "frontend": "default",
    "frontend_conf": {"n_mels": 40, "hop_length": 160},
    "normalize": "utterance_mvn",
    "encoder": "conformer",
    "encoder_conf": {
        "output_size": 16,
        "attention_heads": 2,
        "linear_units": 32,
        "num_blocks": 2,
        "rel_pos_type": "latest",
        "macaron_style": True,
        "cnn_module_kernel": 7,
    },
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SpeakerModel(
        build_backbone(SETTINGS), MFAHead(2, 16, embed_dim=8), AAMSoftmax(8, 3)
    )


@torch.no_grad()
def test_an_embedding_does_not_depend_on_its_batch(model):
    model.eval()
    lengths = torch.tensor([16000, 9000, 12345])
    speech = torch.randn(3, 16000)
    for row, length in zip(speech, lengths, strict=True):
        row[length:] = 0.0
    batched = model.embed(speech, lengths)
    for i, length in enumerate(lengths):
        unbatched = model.embed(speech[i : i + 1, :length], length[None])
        torch.testing.assert_close(batched[i : i + 1], unbatched, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_supports_the_call_of_espnets_speaker_model(model):
    speech = torch.randn(2, 12000)
    model.eval()
    stock_call = model(speech=speech, extract_embd=True)
    assert torch.equal(stock_call, model.embed(speech, torch.tensor([12000, 12000])))


def test_the_logged_loss_does_not_change_with_the_loss(model):
    labels = torch.tensor([0, 1])
    loss, stats, _ = model(torch.randn(2, 9600), torch.full((2,), 9600), labels)
    before = float(stats["loss"])
    loss /= 4  # as ESPnet's trainer does with --accum_grad 4
    assert float(stats["loss"]) == before


def test_the_loss_decreases_on_one_batch(model):
    speech, labels = torch.randn(6, 9600), torch.tensor([0, 0, 1, 1, 2, 2])[:, None]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        loss, stats, weight = model(speech, torch.full((6,), 9600), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert weight == 6
    assert 0.0 <= stats["acc"] <= 1.0


@torch.no_grad()
def test_frontend_and_loss_stay_in_float32_under_autocast(model):
    speech, lengths = torch.randn(2, 12000), torch.tensor([12000, 12000])
    feats, _ = model.backbone.features(speech.clone(), lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same, _ = model.backbone.features(speech.clone(), lengths)
        blocks, _ = model.backbone(speech, lengths)
        loss, _, _ = model(speech, lengths, torch.tensor([0, 1]))
    assert torch.equal(feats, same)
    assert blocks[0].shape[-1] == 16
    assert loss.dtype == torch.float32


def test_every_trainable_parameter_gets_a_gradient(model):
    loss, _, _ = model(
        torch.randn(4, 9600), torch.full((4,), 9600), torch.tensor([0, 1, 2, 0])
    )
    loss.backward()
    without = [
        n for n, p in model.named_parameters() if p.requires_grad and p.grad is None
    ]
    assert without == []  # DistributedDataParallel would wait for them
