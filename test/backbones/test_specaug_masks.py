"""SpecAugment on a GPU masks what ESPnet's does on a CPU."""

import pytest
import torch

from espnet2.asr.specaug.specaug import SpecAug as EspnetSpecAug
from espnet2_sv.backbones.specaug import SpecAug

VOXCELEB = {
    "apply_time_warp": False,
    "freq_mask_width_range": [0, 10],
    "num_freq_mask": 1,
    "time_mask_width_range": [0, 10],
    "num_time_mask": 1,
}


@pytest.mark.parametrize(
    "conf",
    [
        VOXCELEB,
        {**VOXCELEB, "num_freq_mask": 2, "num_time_mask": 3},
        {**VOXCELEB, "apply_freq_mask": False},
        {
            **VOXCELEB,
            "time_mask_width_range": None,
            "time_mask_width_ratio_range": [0.0, 0.2],
        },
    ],
)
def test_draws_the_masks_that_espnet_draws(conf):
    features = torch.rand(5, 90, 40) + 1
    torch.manual_seed(1)
    expected, _ = EspnetSpecAug(**conf)(features.clone())
    torch.manual_seed(1)
    for mask in SpecAug(**conf).draw(*features.shape):
        features = features.masked_fill(mask, 0.0)
    assert torch.equal(features, expected)
    assert (features == 0).any()
