"""The longest validation batch, and embedding when memory runs out."""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch

from check_gpu.device import exact_float32, free_memory, peak_gib, reset_peak, total_gib
from check_gpu.networks import (
    RATE,
    VOXCELEB,
    parse,
    read_config,
    voices,
    write_config,
)
from check_gpu.results import GIBIBYTE, Check, Context, Failed, Figures, Skipped
from espnet2_sv.data.iter_factory import EmbedIterFactory
from espnet2_sv.inference.waveforms import WaveformEmbedder
from espnet2_sv.inference.workers import embed_batch
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.train.validation import embed_batches

# Seconds and number of utterances: VoxCeleb1's longest, long ones, usual ones
LENGTHS = {145.0: 1, 25.0: 20, 8.0: 60}
SMALL_LENGTHS = {6.0: 1, 2.0: 4}
MAX_UTTERANCES = 256  # of a validation batch: batch_size of the configurations
WAVES, WAVE_SECONDS = 20, 10.0
PART_OF_PEAK = 0.5  # memory that the batch gets, of what it needs
MIN_COSINE = 0.9999
LEFT_OVER = GIBIBYTE // 16  # memory of libraries


def checks(context: Context) -> dict[str, Check]:
    """Return the checks of this part."""
    exact_float32()
    # functools: the largest network is built once
    model = functools.cache(functools.partial(build, context))
    return {
        "longest validation batches": lambda: validation(context, model()),
        "memory runs out": lambda: recovery(context, model()),
    }


def build(context: Context) -> SpeakerModel:
    """Build the recipe's largest network in eval mode."""
    config = VOXCELEB / "train_sv_scratch.yaml"
    folder = context.workdir / "memory"
    path = write_config(folder, config.stem, read_config(config, context.small))
    task, args = parse(path, folder)
    args.spk_num = 2
    torch.manual_seed(0)
    return task.build_model(args).eval().to(context.device)


def validation(context: Context, model: SpeakerModel) -> Figures:
    """Embed long utterances as validation does, within its own bound."""
    lengths = SMALL_LENGTHS if context.small else LENGTHS
    folder = context.folder("long", functools.partial(write_long, lengths))
    wavs = {path.stem: str(path) for path in sorted(folder.iterdir())}
    factory = EmbedIterFactory(
        wavs,
        list(wavs),
        sample_rate=RATE,
        batch_size=MAX_UTTERANCES,
        equal_lengths_only=model.backbone.padding_sensitive,
    )
    sizes: list[float] = []
    reset_peak(context.device)
    try:
        with torch.no_grad():
            found = embed_batches(model, watched(factory, sizes), context.device)
    except torch.OutOfMemoryError:
        found = {}
    if not found:
        raise Failed("memory runs out", peak_gib(context.device))
    if found.keys() != wavs.keys() or not all(
        np.isfinite(vector).all() for vector in found.values()
    ):
        raise Failed("embeddings are missing or not finite")
    figures = {"utterances": len(found), "batches": len(sizes)}
    figures |= {"longest s": max(lengths), "largest batch s": max(sizes)}
    return {**figures, **peak_gib(context.device)}


def watched(factory: EmbedIterFactory, sizes: list[float]) -> Iterator:
    """Pass batches on; note the padded seconds of each."""
    for names, batch in factory.build_iter(1):
        sizes.append(batch["speech"].numel() / RATE)
        yield names, batch


def write_long(lengths: dict[float, int], folder: Path) -> None:
    """Write recordings named by their length in seconds."""
    for seconds, count in lengths.items():
        speech = voices(1, seconds, 1)["speech"][0].numpy()
        for i in range(count):
            soundfile.write(folder / f"{seconds}s{i}.wav", speech, RATE)


def recovery(context: Context, model: SpeakerModel) -> Figures:
    """Embed a batch with half of the memory that it needs."""
    if context.device != "cuda":
        raise Skipped("--device cpu: PyTorch limits the memory of GPUs only")
    embedder = WaveformEmbedder(model, max_seconds=WAVE_SECONDS)
    speech = voices(WAVES, WAVE_SECONDS, WAVES)["speech"]
    items = [(f"utt{i}", wave) for i, wave in enumerate(speech.numpy())]
    free_memory(context.device)
    before = torch.cuda.memory_allocated()
    reset_peak(context.device)
    expected = embedder(list(speech))
    needed = torch.cuda.max_memory_allocated() - before
    free_memory(context.device)
    limit = torch.cuda.memory_reserved() + PART_OF_PEAK * needed
    total = total_gib(context.device) * GIBIBYTE
    failures = torch.cuda.memory_stats()["num_ooms"]
    torch.cuda.set_per_process_memory_fraction(limit / total)
    try:
        results = {name: result for name, _, result in embed_batch(embedder, items)}
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    failures = torch.cuda.memory_stats()["num_ooms"] - failures
    free_memory(context.device)
    left = torch.cuda.memory_allocated() - before
    figures: Figures = {"times memory ran out": failures}
    figures["needed GiB"] = round(needed / GIBIBYTE, 2)
    figures["left over MiB"] = round(left / 2**20, 1)
    if not failures:
        raise Failed("memory did not run out: nothing is proved", figures)
    errors = [str(r) for r in results.values() if isinstance(r, Exception)]
    if errors or len(results) != len(items):
        raise Failed(f"{len(errors)} failed: {errors[:1]}", figures)
    found = torch.stack([results[name].embedding for name, _ in items])
    cosines = torch.nn.functional.cosine_similarity(found, expected)
    figures["cosine"] = float(cosines.min())
    if not figures["cosine"] > MIN_COSINE:
        raise Failed("other embeddings than with enough memory", figures)
    if left > LEFT_OVER:
        raise Failed("the failed batch's memory is not freed", figures)
    return figures
