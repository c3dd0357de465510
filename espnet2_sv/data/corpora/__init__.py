"""Kaldi data directories from corpora as they are distributed."""
