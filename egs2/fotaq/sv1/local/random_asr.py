#!/usr/bin/env python3
r"""Draw initial weights of an ASR model: a control without ASR training.

    random_asr.py --config exp/fold1/asr/untrained/config.yaml --seed 0 \
        --output seed0.pth

The weights are those that ESPnet's ASR training starts from with that configuration and
seed, so a Conformer's batch norms are identities. Feature statistics are those that the
configuration names.
"""

import argparse
from pathlib import Path

import torch
import yaml

from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write


def random_weights(config: Path, seed: int) -> dict[str, torch.Tensor]:
    """Return the weights that training of an ASR model would start from.

    Args:
        config: Configuration that ``espnet2.bin.asr_train`` writes, also with
            ``--dry_run true``.
        seed: Seed of the weights.

    Raises:
        SVError: The configuration, or the statistics that it names, cannot be read.
    """
    from espnet2.tasks.asr import ASRTask
    from espnet2.torch_utils.set_all_random_seed import set_all_random_seed

    try:
        settings = yaml.safe_load(config.read_text(encoding="utf-8"))
        set_all_random_seed(seed)
        # as in training; the feature statistics would be in double precision otherwise
        return ASRTask.build_model(argparse.Namespace(**settings)).float().state_dict()
    except OSError as e:
        raise SVError(
            f"{e.filename or config}: cannot be read ({e.strerror or e})"
        ) from e
    except (yaml.YAMLError, TypeError, AttributeError) as e:
        reason = str(e).splitlines()[0]
        raise SVError(
            f"{config}: is not the configuration of an ASR training: {reason}"
        ) from e


def main(cmd: list[str] | None = None) -> None:
    """Draw the weights and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--config", required=True, type=Path, help="configuration of the ASR training"
    )
    parser.add_argument(
        "--output", required=True, type=Path, help="weight file to write"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights")
    args = parser.parse_args(cmd)
    weights = random_weights(args.config, args.seed)
    with atomic_write(args.output, "wb") as stream:
        torch.save(weights, stream)


if __name__ == "__main__":
    run(main)
