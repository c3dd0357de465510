"""Heads: block outputs to a speaker embedding."""

from espnet2_sv.heads.adaptor import SpeakerAdaptor
from espnet2_sv.heads.mfa import MFAHead

__all__ = ["MFAHead", "SpeakerAdaptor"]
