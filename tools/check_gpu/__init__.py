"""The parts of tools/check_gpu.py, which proves that a machine can train."""
