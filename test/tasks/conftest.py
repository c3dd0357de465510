"""A random ASR model and a fast way to train on the tiny corpus."""

from training import asr_exp, small_network, training_command  # noqa: F401
