#!/usr/bin/env python3
"""Packs an ASR model's untrained twin: the control for what its training has taught it.

    random_asr.py --asr exp/fold1/asr/asr.zip --output exp/fold1/asr_random/asr.zip --seed 0

All but the weights is the model's own: configuration, tokens and the statistics of its features.
The weights are those that ESPnet's ASR training starts from; so the batch norms of a Conformer
know no data and leave their input as it is.
"""

import argparse
import copy
import io
import tempfile
import zipfile
from pathlib import Path

import torch

from espnet2_sv.asr.archive import ModelFiles, find_model_files
from espnet2_sv.asr.build import write_stats
from espnet2_sv.asr.bundle import load_from_files
from espnet2_sv.bin.cli import run
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write

STATISTICS = "normalize."  # what the names of feature statistics begin with; these are kept


def fresh_weights(files: ModelFiles, name: str, seed: int) -> dict[str, torch.Tensor]:
    """Return the weights that training of an ASR model would start from.

    Args:
        files: Where the model lies.
        name: What messages call it.
        seed: Of the weights.

    Raises:
        SVError: The model cannot be read.
    """
    from espnet2.tasks.asr import ASRTask
    from espnet2.torch_utils.set_all_random_seed import set_all_random_seed

    trained = load_from_files(files, name)
    args, state = copy.deepcopy(trained.args), trained.model.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        if args.normalize == "global_mvn":
            args.normalize_conf["stats_file"] = str(Path(folder, "feats_stats.npz"))
            write_stats(args.normalize_conf["stats_file"], state)
        set_all_random_seed(seed)
        fresh = ASRTask.build_model(args).state_dict()
    return fresh | {key: value for key, value in state.items() if key.startswith(STATISTICS)}


def repack(files: ModelFiles, weights: dict[str, torch.Tensor], output: Path) -> None:
    """Write an archive of a packed model's files with other weights; same input, same bytes."""
    stream = io.BytesIO()
    torch.save(weights, stream)
    with atomic_write(output, "wb") as part, zipfile.ZipFile(part, "w") as archive:
        for path in sorted(p for p in files.root.rglob("*") if p.is_file()):
            content = stream.getvalue() if path == files.weights else path.read_bytes()
            archive.writestr(zipfile.ZipInfo(str(path.relative_to(files.root))), content)


def main(cmd: list[str] | None = None) -> None:
    """Pack the twin."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--asr", required=True, help="the packed ASR model")
    parser.add_argument("--output", required=True, type=Path, help="archive to write")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    args = parser.parse_args(cmd)
    files = find_model_files(args.asr, "asr")
    if not files.packed:
        raise SVError(f"{args.asr}: is not a packed model; pack it with espnet2.bin.pack first")
    repack(files, fresh_weights(files, args.asr, args.seed), args.output)


if __name__ == "__main__":
    run(main)
