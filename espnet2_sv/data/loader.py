"""Iterating over a dataset with worker processes, with errors that still read as one line."""

from collections.abc import Callable, Iterable, Iterator

import torch

from espnet2_sv.errors import SVError


class CheckedLoader:
    """A ``DataLoader`` over given batches of keys.

    Datasets and collate functions here hand an :class:`SVError` on as a value, because
    one that is raised in a worker reaches the main process wrapped in a traceback. It
    is raised here.
    """

    def __init__(
        self,
        dataset: torch.utils.data.Dataset,
        batches: Iterable[list],
        collate: Callable,
        num_workers: int,
        pin_memory: bool = False,
    ):
        """Wrap ``DataLoader(dataset, batch_sampler=batches, ...)``."""
        self._loader = torch.utils.data.DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=num_workers,
            pin_memory=pin_memory,
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[list[str], dict]]:
        """Yield ``(utterance ids, batch)``; raises SVError naming what cannot be read."""
        for item in self._loader:
            if isinstance(item, SVError):
                raise item
            yield item
