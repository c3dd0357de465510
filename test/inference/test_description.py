from espnet2_sv.inference.description import describe
from espnet2_sv.models.load import load_speaker_model


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
