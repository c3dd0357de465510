"""Corpora as they are handed out, made into Kaldi data directories."""
