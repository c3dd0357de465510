"""The real commands on the device, compared with the same commands on the CPU.

They train on the real speech of egs2/mini_an4, with its configurations and an ASR model
with random weights. With ``--device cpu`` each command is repeated.
"""

import functools
import itertools
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from check_gpu.an4 import an4_data
from check_gpu.networks import MINI_AN4, read_config, write_asr, write_config
from check_gpu.results import Check, Context, Failed, Figures
from espnet2_sv.bin import (
    sv_adaptor_train,
    sv_distill_train,
    sv_embed,
    sv_joint,
    sv_score,
    sv_score_norm,
    sv_teacher_posteriors,
    sv_transfer_train,
)
from espnet2_sv.data.arks import ArkReader
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.scoring.trials import read_scores
from espnet2_sv.train.checkpoint import CHECKPOINT, SAFE_CHECKPOINT, read_epochs

LOSS_TOLERANCE = 0.02  # relative; training uses TensorFloat-32 convolutions
# Of a resumed training's encoder, relative to how far training has moved it: AdamW
# turns rounding of small gradients into steps of full size
RESUME_TOLERANCE = 0.2
MIN_COSINE = 0.9999
SCORE_TOLERANCE = 1e-3  # of normalised scores, in standard deviations of the cohort
POSTERIOR_TOLERANCE = 1e-3
STEPS, BATCH, TOP_K = 6, 8, 8
FILES = ("config.yaml", "checkpoint.pth", "spk2id", "valid.eer.best.pth")


class Commands:
    """The checks share what they train; each waits for those before it."""

    def __init__(self, context: Context):
        self.context = context
        self.exp = context.workdir / "exp"
        # device of the folder's name: --ngpu; the CPU first, which is the reference
        self.places = {"reference": 0, "device": context.ngpu}

    @functools.cached_property
    def data(self) -> Path:
        """Data directories of AN4."""
        return an4_data(self.context)

    @functools.cached_property
    def asr(self) -> Path:
        """A small ASR model."""
        make = functools.partial(write_asr, num_blocks=3, dim=64, vocabulary=30)
        return self.context.folder("commands_asr", make)

    def training(self, name: str, folder: Path, ngpu: int, **options) -> list[str]:
        """Return the options of a training, without dropout."""
        conf = read_config(MINI_AN4 / f"train_sv_{name}.yaml")
        conf.pop("specaug", None)
        if "encoder_conf" in conf:
            conf["encoder_conf"]["dropout_rate"] = 0.0
        conf |= {"num_iters_per_epoch": STEPS, "batch_size": BATCH, "resume": True}
        conf |= {"use_tensorboard": False, "freeze_encoder_epochs": 1, **options}
        config = write_config(self.exp, f"{folder.name}_{ngpu}_{name}", conf)
        data = self.data
        return [
            *("--config", str(config), "--output_dir", str(folder)),
            *("--asr", str(self.asr), "--ngpu", str(ngpu)),
            *("--spk2utt", f"{data}/train/spk2utt"),
            *("--valid_trials", f"{data}/valid/trials"),
            "--train_data_path_and_name_and_type",
            f"{data}/train/wav.scp,speech,sound",
            "--valid_data_path_and_name_and_type",
            f"{data}/valid/wav.scp,speech,sound",
            *("--noise_scp", f"{data}/noise.scp", "--rir_scp", f"{data}/rirs.scp"),
        ]

    def train(self) -> Figures:
        """Two epochs of transfer, the first with the encoder frozen."""
        start = encoder(self.asr / "valid.acc.ave.pth", prefix="")
        for place, ngpu in self.places.items():
            folder = self.exp / f"transfer_{place}"
            options = {"max_epoch": 2, "keep_nbest_models": 2}
            sv_transfer_train.main(self.training("transfer", folder, ngpu, **options))
            require_files(folder, FILES)
            for epoch, same in ((1, True), (2, False)):
                trained = encoder(folder / f"{epoch}epoch.pth")
                moved = distance(trained, start) > 0
                if moved is same:
                    state = "changed" if moved else "did not change"
                    raise Failed(f"{place}: the encoder {state} in epoch {epoch}")
        return self.compare_losses("transfer", epochs=2)

    def resume(self) -> Figures:
        """A training that was killed goes on where its last epoch ended."""
        ngpu = self.context.ngpu
        killed, whole = self.exp / "killed", self.exp / "uninterrupted"
        command = self.training("transfer", killed, ngpu, max_epoch=1000)
        module = [sys.executable, "-m", "espnet2_sv.bin.sv_transfer_train"]
        process = subprocess.Popen(module + command)
        try:
            wait_for(killed / SAFE_CHECKPOINT, process)  # epoch 2 has begun
        finally:
            process.kill()
            process.wait()
        started = epochs_of(killed, SAFE_CHECKPOINT)
        for folder in (killed, whole):
            options = self.training("transfer", folder, ngpu, max_epoch=started + 1)
            sv_transfer_train.main(options)
        apart = distance(encoder(killed / "latest.pth"), encoder(whole / "latest.pth"))
        start = encoder(self.asr / "valid.acc.ave.pth", prefix="")
        moved = distance(encoder(whole / "latest.pth"), start)
        figures = {"killed in epoch": started + 1, "apart, of the way": apart / moved}
        if epochs_of(killed) != started + 1:
            raise Failed(f"{epochs_of(killed)} epochs, not {started + 1}", figures)
        if not apart <= RESUME_TOLERANCE * moved:
            raise Failed("the resumed training differs from one in one go", figures)
        return figures

    def embed(self) -> Figures:
        """sv_embed with one model on both."""
        return self.extract(sv_embed, "transfer", "embed", "test", "asr_train")

    def joint(self) -> Figures:
        """An adaptor's training, and sv_joint with one model on both."""
        for place, ngpu in self.places.items():
            folder = self.exp / f"adaptor_{place}"
            sv_adaptor_train.main(self.training("adaptor", folder, ngpu, max_epoch=1))
            require_files(folder, FILES)
        figures = self.compare_losses("adaptor", epochs=1)
        figures |= self.extract(sv_joint, "adaptor", "joint", "asr_train")
        texts = [
            read_two_column(self.exp / f"joint_asr_train_{place}" / "text")
            for place in self.places
        ]
        words = sum(len(text) for text in texts[0].values())
        wrong = [name for name in texts[0] if texts[0][name] != texts[1].get(name)]
        if wrong or not words:
            raise Failed(f"texts differ: {', '.join(wrong) or 'all empty'}", figures)
        return {"characters": words, **figures}

    def posteriors(self) -> Figures:
        """sv_teacher_posteriors, and a distillation that reads them."""
        found = []
        for place, ngpu in self.places.items():
            folder = self.exp / f"posteriors_{place}"
            command = [
                "--asr",
                str(self.asr),
                "--wav_scp",
                f"{self.data}/train/wav.scp",
            ]
            command += ["--output_dir", str(folder), "--top_k", str(TOP_K)]
            sv_teacher_posteriors.main([*command, "--ngpu", str(ngpu)])
            found.append(read_ark(folder / "posteriors.scp"))
        expected, other = found
        if expected.keys() != other.keys():
            raise Failed("other utterances")
        # Classes, their probabilities in descending order, the rest's probability
        apart = max(
            float(np.abs(expected[u][:, TOP_K:] - other[u][:, TOP_K:]).max())
            for u in expected
        )
        best = [(expected[u][:, 0], other[u][:, 0]) for u in expected]
        agreement = float(np.mean(np.concatenate([a == b for a, b in best])))
        figures = {"frames": sum(len(a) for a, _ in best), "probabilities": apart}
        figures["best classes alike"] = agreement
        if not apart <= POSTERIOR_TOLERANCE or agreement < 0.999:
            raise Failed("posteriors differ", figures)
        return figures | self.distill()

    def distill(self) -> Figures:
        """Distillation with the posteriors of the reference."""
        kd_conf = {"temperature": 1.0, "top_k": TOP_K, "alignment": "pool"}
        options = {"kd_conf": kd_conf, "teacher_input": "clean", "max_epoch": 1}
        options["teacher_posteriors"] = str(self.exp / "posteriors_reference")
        options["freeze_encoder_epochs"] = 0
        for place, ngpu in self.places.items():
            folder = self.exp / f"distill_{place}"
            sv_distill_train.main(self.training("distill", folder, ngpu, **options))
            require_files(folder, FILES)
        return self.compare_losses("distill", epochs=1)

    def as_norm(self) -> Figures:
        """AS-norm of the test trials, with the training utterances as cohort."""
        self.extract(sv_embed, "transfer", "embed", "test", "train")
        test = self.exp / "embed_test_reference/xvector.scp"
        cohort = self.exp / "embed_train_reference/xvector.scp"
        trials, scores = self.data / "test/trials", self.exp / "scores"
        sides = ["--enroll_scp", str(test), "--test_scp", str(test)]
        sv_score.main(["--trials", str(trials), *sides, "--output", str(scores)])
        found = []
        for place, ngpu in self.places.items():
            output = self.exp / f"normalised_{place}"
            command = ["--scores", str(scores), *sides, "--cohort_scp", str(cohort)]
            command += ["--top_n", "5", "--ngpu", str(ngpu), "--output", str(output)]
            sv_score_norm.main(command)
            found.append(np.asarray(read_scores(output).scores))
        apart = float(np.abs(found[0] - found[1]).max())
        figures = {"trials": len(found[0]), "scores": apart}
        if not apart <= SCORE_TOLERANCE:
            raise Failed("normalised scores differ", figures)
        return figures

    def extract(self, command, exp: str, name: str, *sets: str) -> Figures:
        """Embed sets on both and compare."""
        model = self.exp / f"{exp}_reference"
        if not (model / "valid.eer.best.pth").exists():
            raise Failed("no model: its training failed")
        cosines = []
        for subset, (place, ngpu) in itertools.product(sets, self.places.items()):
            folder = self.exp / f"{name}_{subset}_{place}"
            wav_scp = self.data / subset / "wav.scp"
            options = ["--model", str(model), "--wav_scp", str(wav_scp)]
            options += ["--output_dir", str(folder), "--ngpu", str(ngpu)]
            command.main(options)
            require_files(folder, ("xvector.ark", "xvector.scp", "utt2dur", "failed"))
            if place == "reference":
                expected = read_ark(folder / "xvector.scp")
                wanted = read_two_column(wav_scp).keys()
            else:
                found = read_ark(folder / "xvector.scp")
                if not found.keys() == expected.keys() == wanted:
                    raise Failed(f"{subset}: utterances without an embedding")
                cosines += [cosine(expected[u], found[u]) for u in expected]
        figures = {"embeddings": len(cosines), "cosine": min(cosines)}
        if not figures["cosine"] > MIN_COSINE:
            raise Failed("embeddings differ", figures)
        return figures

    def compare_losses(self, name: str, epochs: int) -> Figures:
        """Compare the mean training losses of all epochs, and their number."""
        losses = {}
        for place in self.places:
            stats = read_epochs(self.exp / f"{name}_{place}")
            if sorted(stats) != list(range(1, epochs + 1)):
                raise Failed(f"{place}: epochs {sorted(stats)}, not 1 to {epochs}")
            losses[place] = np.array([stats[e]["train"]["loss"] for e in sorted(stats)])
        apart = np.abs(losses["device"] / losses["reference"] - 1).max()
        figures = {"loss": float(losses["device"][-1]), "from CPU's": float(apart)}
        if not apart <= LOSS_TOLERANCE:
            raise Failed("losses differ", figures)
        return figures


def checks(context: Context) -> dict[str, Check]:
    """Return the checks of this part."""
    commands = Commands(context)
    return {
        "transfer, a frozen epoch": commands.train,
        "kill and resume": commands.resume,
        "sv_embed": commands.embed,
        "adaptor and sv_joint": commands.joint,
        "posteriors and distillation": commands.posteriors,
        "AS-norm": commands.as_norm,
    }


def require_files(folder: Path, names: tuple[str, ...]) -> None:
    """Check that files are there and not empty, but for the list of what failed."""
    for name in names:
        path = folder / name
        if not path.exists() or not (path.stat().st_size or name == "failed"):
            raise Failed(f"{path.parent.name}/{name} is missing or empty")


def encoder(weights: Path, prefix: str = "backbone.") -> dict[str, torch.Tensor]:
    """Read the parameters of an encoder, without BatchNorm's statistics."""
    state = torch.load(weights, weights_only=True, map_location="cpu")
    start = f"{prefix}encoder."
    return {
        name.removeprefix(prefix): tensor.double()
        for name, tensor in state.items()
        if name.startswith(start) and "running" not in name and tensor.ndim
    }


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Wait until a file is there.

    Raises:
        Failed: The process ended before.
    """
    while not path.exists():
        if process.poll() is not None:
            raise Failed(f"the training ended by itself, status {process.returncode}")
        time.sleep(0.01)


def epochs_of(folder: Path, name: str = CHECKPOINT) -> int:
    """Return the number of epochs that a checkpoint has."""
    state = torch.load(folder / name, map_location="cpu", weights_only=True, mmap=True)
    return max(state["reporter"]["stats"])


def distance(found: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Return the Euclidean distance of the same parameters of two networks."""
    names = found.keys() & other.keys()
    if not names:
        raise Failed("the networks have other parameters")
    return sum(float((found[n] - other[n]).square().sum()) for n in names) ** 0.5


def read_ark(scp: Path) -> dict[str, np.ndarray]:
    """Read the vectors or matrices of a Kaldi scp."""
    reader = ArkReader("result")
    entries = read_two_column(scp)
    return {u: reader.read(u, entry, lambda: str(scp)) for u, entry in entries.items()}


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine of two vectors."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
