"""The components of a speaker model, by their names in a training config."""

import torch

from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.asr.preencoder.abs_preencoder import AbsPreEncoder
from espnet2.asr.specaug.abs_specaug import AbsSpecAug
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.spk.loss.aamsoftmax import AAMSoftmax
from espnet2.spk.loss.aamsoftmax_subcenter_intertopk import (
    ArcMarginProduct_intertopk_subcenter,
)
from espnet2.spk.loss.softmax import Softmax
from espnet2.train.class_choices import ClassChoices
from espnet2_sv.backbones.build import ENCODERS, FRONTENDS, NORMALIZATIONS, PREENCODERS
from espnet2_sv.backbones.specaug import SpecAug
from espnet2_sv.heads.mfa import MFAHead
from espnet2_sv.heads.pooled import PooledHead

frontend_choices = ClassChoices(
    "frontend",
    FRONTENDS,
    type_check=AbsFrontend,
    default="default",
)
specaug_choices = ClassChoices("specaug", {"specaug": SpecAug}, type_check=AbsSpecAug)
normalize_choices = ClassChoices(
    "normalize",
    NORMALIZATIONS,
    type_check=AbsNormalize,
    default="utterance_mvn",
    optional=True,
)
preencoder_choices = ClassChoices(
    "preencoder",
    PREENCODERS,
    type_check=AbsPreEncoder,
    default=None,
    optional=True,
)
encoder_choices = ClassChoices(
    "encoder",
    ENCODERS,
    type_check=AbsEncoder,
    default="conformer",
)
head_choices = ClassChoices(
    "head",
    {"mfa": MFAHead, "pooled": PooledHead},
    type_check=torch.nn.Module,
    default="mfa",
)
# As in espnet2.tasks.spk, which takes seconds to import
loss_choices = ClassChoices(
    "loss",
    {
        "aamsoftmax": AAMSoftmax,
        "aamsoftmax_sc_topk": ArcMarginProduct_intertopk_subcenter,
        "softmax": Softmax,
    },
    default="aamsoftmax",
)

ALL_CHOICES = [
    frontend_choices,
    specaug_choices,
    normalize_choices,
    preencoder_choices,
    encoder_choices,
    head_choices,
    loss_choices,
]
