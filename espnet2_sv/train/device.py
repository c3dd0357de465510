"""Batches on their way to the device, without the CPU waiting for it."""

from collections.abc import Iterable, Iterator

import torch


class DeviceBatches:
    """Batches of a loader, copied to the device as they are taken.

    The copies are asynchronous, as the loader's memory is page-locked; ESPnet's trainer
    would wait for each of them. The lengths of crops, which all fill their batch, are
    left out: the network takes them from the shape, and need not read them back.

    Args:
        batches: Batches (utterance IDs, {"speech": (B, S), "speech_lengths": (B,),
            ...}) on the CPU.
        device: ``"cpu"`` or ``"cuda"``.
    """

    def __init__(self, batches: Iterable, device: str):
        self.batches = batches
        self.device = device

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[list[str], dict[str, torch.Tensor]]]:
        for utterances, batch in self.batches:
            yield utterances, self._moved(batch)

    def _moved(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.device == "cpu":
            return batch
        samples = batch["speech"].size(1)
        if int(batch["speech_lengths"].min()) == samples:
            batch = {k: v for k, v in batch.items() if k != "speech_lengths"}
        return {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}
