"""An independent implementation of Kaldi's archives, for tests.

kaldiio, or, where it is not installed, what comes with ESPnet.
"""

try:
    import kaldiio
except ImportError:
    from omniio import kaldi as kaldiio

__all__ = ["kaldiio"]
