"""VoxCeleb1 and VoxCeleb2, made into Kaldi data directories."""
