"""An independent implementation of Kaldi's archives, for tests.

kaldiio, or, where it is not installed, what comes with ESPnet.
"""

import pytest

try:
    import kaldiio

    HAS_KALDIIO = True
except ImportError:
    from omniio import kaldi as kaldiio

    HAS_KALDIIO = False

needs_kaldiio = pytest.mark.skipif(
    not HAS_KALDIIO, reason="only kaldiio writes such records"
)

__all__ = ["HAS_KALDIIO", "kaldiio", "needs_kaldiio"]
