"""The components that a training config can name."""

import espnet2.tasks.spk
from espnet2_sv.models.choices import loss_choices


def test_losses_are_those_of_espnets_speaker_task():
    assert loss_choices.classes == espnet2.tasks.spk.loss_choices.classes
    assert loss_choices.default == espnet2.tasks.spk.loss_choices.default
