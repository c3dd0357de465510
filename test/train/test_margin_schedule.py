import pytest
import torch

from espnet2.spk.loss.aamsoftmax import AAMSoftmax
from espnet2.spk.loss.aamsoftmax_subcenter_intertopk import (
    ArcMarginProduct_intertopk_subcenter,
)
from espnet2.spk.loss.softmax import Softmax
from espnet2_sv.errors import SVError
from espnet2_sv.train.margin_schedule import MarginSchedule, get_margin, set_margin


def test_margin_is_constant_then_linear_then_constant():
    schedule = MarginSchedule(from_epoch=2, to_epoch=4)
    assert [schedule(epoch, 0.2) for epoch in range(1, 6)] == [0, 0, 0.1, 0.2, 0.2]


def test_margin_may_decrease_from_an_initial_value():
    schedule = MarginSchedule(initial=0.5, to_epoch=2)
    assert [schedule(epoch, 0.3) for epoch in (1, 2, 3)] == pytest.approx(
        [0.4, 0.3, 0.3]
    )


@pytest.mark.parametrize("conf", [{"initial": -1}, {"from_epoch": 2, "to_epoch": 2}])
def test_invalid_schedules_are_rejected(conf):
    with pytest.raises(SVError, match="margin_schedule"):
        MarginSchedule(**conf)


@pytest.mark.parametrize("kind", [AAMSoftmax, ArcMarginProduct_intertopk_subcenter])
@pytest.mark.parametrize("margin", [0.0, 0.35])
def test_set_margin_equals_building_the_loss_with_that_margin(kind, margin):
    more = {} if kind is AAMSoftmax else {"do_lm": True}
    changed, built = kind(4, 6, margin=0.2, **more), kind(4, 6, margin=margin, **more)
    built.load_state_dict(changed.state_dict())
    set_margin(changed, margin)
    assert get_margin(changed) == margin
    embeddings = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(5)
    torch.testing.assert_close(
        changed(embeddings, labels)[0], built(embeddings, labels)[0]
    )


def test_a_loss_without_margin_is_rejected():
    with pytest.raises(SVError, match="Softmax has no margin"):
        get_margin(Softmax(4, 2))
