from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.heads import MFAHead
from espnet2_sv.inference.description import describe, describe_model
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.models.speaker_model import SpeakerModel


def test_counts_the_network_that_is_used(speaker_exp):
    model, _ = load_speaker_model(speaker_exp)
    counted = describe(speaker_exp)
    without_loss = sum(
        p.numel() for n, p in model.named_parameters() if not n.startswith("loss.")
    )
    assert counted["parameters"] == without_loss
    final_norm = sum(p.numel() for p in model.backbone.encoder.after_norm.parameters())
    assert counted["trained_parameters"] == without_loss - final_norm
    # at least the subsampling's second convolution: 16 x 16 x 3 x 3 per (frame, band)
    frames, bands = 10 * 25 - 1, 19
    assert counted["gmac_per_second"] * 1e9 > 16 * 16 * 9 * frames * bands / 10


def test_an_encoder_with_a_trained_prompt_is_counted_and_stays_trainable():
    size = {"output_size": 16, "attention_heads": 2, "cgmlp_linear_units": 32}
    size |= {"linear_units": 24, "num_blocks": 2, "input_layer": "conv2d8"}
    backbone = build_backbone({"encoder": "e_branchformer_ctc", "encoder_conf": size})
    model = SpeakerModel(backbone, MFAHead(2, 16, embed_dim=8), None).eval()
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert "backbone.prompt.prefix" in trained
    assert describe_model(model)["gmac_per_second"] > 0
    assert [n for n, p in model.named_parameters() if p.requires_grad] == trained
