"""Speaker-balanced training batches, independent of the number of processes."""

from collections.abc import Iterator, Sequence

import numpy as np

from espnet2_sv.errors import SVError, require_integer

_SHUFFLE = 1  # separates the sampler's random numbers from the dataset's

# (utterance index, pass over the corpus from 1, position in that pass); unique in a
# training
SampleKey = tuple[int, int, int]


class SpeakerBatchSampler:
    """Divides a corpus into global batches with as many speakers as possible in each.

    A pass over N utterances has K = ceil(N / batch_size) batches and uses every
    utterance once; the remaining K * batch_size - N places are filled with utterances
    drawn at random a second time, preferably of speakers with fewer than K utterances
    in the pass.

    Balance: a speaker with c utterances in the pass has floor(c / K) or ceil(c / K) of
    them in every batch. So no speaker is in a batch twice unless it has more utterances
    than there are batches, and the number of different speakers per batch, summed over
    the pass, is maximal. A corpus smaller than one batch is repeated to fill it.

    Rank r of W takes every W-th entry of a global batch, from the r-th on: the global
    batches, and the keys of their entries, do not depend on W.

    An epoch is one pass or, with ``num_iters``, that many batches, continuing where the
    last epoch stopped.
    """

    def __init__(
        self,
        labels: Sequence[int] | np.ndarray,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        num_iters: int | None = None,
    ):
        """Check the batch size.

        Args:
            labels: Class of each utterance, (N,) integers from 0.
            batch_size: Utterances per global batch, over all ranks.
            seed: Seed of the order.
            rank: Index of this process.
            world_size: Number of processes.
            num_iters: Batches per epoch; None means one pass over the corpus.

        Raises:
            SVError: There are no utterances, the batch size is not divisible by the
                number of ranks, or gives a rank fewer than two utterances, which
                BatchNorm cannot train on.
        """
        self.labels = np.asarray(labels, np.int32)
        if not len(self.labels):
            raise SVError("no utterances to train on; check the training wav.scp")
        require_integer("batch_size", batch_size, 1)
        require_integer("seed", seed, 0)
        require_integer("world_size", world_size, 1)
        require_integer("rank", rank, 0)
        if rank >= world_size:
            raise SVError(f"rank is {rank}; choose less than world_size {world_size}")
        if batch_size % world_size:
            raise SVError(
                f"batch_size {batch_size} is not divisible by the {world_size}"
                " processes; choose"
                f" {batch_size // world_size * world_size + world_size}"
            )
        if batch_size // world_size < 2:
            raise SVError(
                f"batch_size {batch_size} leaves {batch_size // world_size} utterance"
                f" per process ({world_size}); BatchNorm needs at least 2, set"
                f" batch_size to {2 * world_size} or more"
            )
        if num_iters is not None:
            require_integer("num_iters_per_epoch", num_iters, 1)
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.batches_per_pass = -(-len(self.labels) // batch_size)
        self.num_iters = num_iters or self.batches_per_pass

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.num_iters

    def generate(self, epoch: int) -> "RankBatches":
        """Return this rank's batches of ``epoch`` (from 1), each a list of keys."""
        parts = []
        batch, last = (epoch - 1) * self.num_iters, epoch * self.num_iters
        while batch < last:
            number, row = divmod(batch, self.batches_per_pass)
            rows = min(self.batches_per_pass - row, last - batch)
            columns = slice(self.rank, None, self.world_size)
            chosen = self._distribute(number + 1)[row : row + rows, columns].copy()
            parts.append((number + 1, row, chosen))
            batch += rows
        return RankBatches(parts, self.batch_size, self.rank, self.world_size)

    def _distribute(self, number: int) -> np.ndarray:
        """Return the utterance indices (K, batch_size) of the pass ``number``."""
        rng = np.random.default_rng((_SHUFFLE, self.seed, number))
        items = self._with_fill(rng)
        speaker_order = rng.permutation(self.labels.max() + 1).astype(np.int32)
        items = items[np.argsort(speaker_order[self.labels[items]], kind="stable")]
        return _spread(items, self.labels[items], self.batches_per_pass, rng)

    def _with_fill(self, rng: np.random.Generator) -> np.ndarray:
        """Return all utterances in random order, then those that fill the batches."""
        count, k = len(self.labels), self.batches_per_pass
        items = rng.permutation(count).astype(np.int32)
        missing = k * self.batch_size - count
        if not missing:
            return items
        draw = rng.permutation(count).astype(np.int32)
        per_speaker = np.bincount(self.labels)
        crowded = (
            per_speaker[self.labels[draw]] + _rank_in_group(self.labels[draw]) >= k
        )
        draw = np.concatenate([draw[~crowded], draw[crowded]])
        return np.concatenate([items, np.resize(draw, missing)])


class RankBatches:
    """A sequence of batches that makes keys lazily."""

    def __init__(
        self,
        parts: list[tuple[int, int, np.ndarray]],
        batch_size: int,
        rank: int,
        world_size: int,
    ):
        """Keep parts ``(pass, first batch, utterance indices (batches, entries))``."""
        self._parts = parts
        self._batch_size = batch_size
        self._rank = rank
        self._world_size = world_size

    def __len__(self) -> int:
        return sum(len(indices) for _, _, indices in self._parts)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for number, first, indices in self._parts:
            for row, batch in enumerate(indices, first):
                start = row * self._batch_size + self._rank
                yield [
                    (int(utt), number, start + i * self._world_size)
                    for i, utt in enumerate(batch)
                ]


def _rank_in_group(labels: np.ndarray) -> np.ndarray:
    """Return for each entry how many earlier ones have the same label, (N,)."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    firsts = np.searchsorted(ordered, ordered)
    ranks = np.empty(len(labels), np.int64)
    ranks[order] = np.arange(len(labels)) - firsts
    return ranks


def _spread(items: np.ndarray, speakers: np.ndarray, k: int, rng) -> np.ndarray:
    """Distribute items, grouped by speaker, evenly over ``k`` batches.

    Every run of ``k`` items gives one item to each batch, in random order. If a speaker
    continues from the previous run, its items go to the batches without it first.
    """
    batches = np.empty((k, len(items) // k), items.dtype)
    # batches with an item of the current speaker's previous, partial run
    taken = np.zeros(k, bool)
    current = -1
    for column in range(batches.shape[1]):
        run = slice(column * k, (column + 1) * k)
        speaker = speakers[run]
        head = int(np.count_nonzero(speaker == current))
        to = rng.permutation(k)
        if 0 < head < k:
            to = np.concatenate([to[~taken[to]], to[taken[to]]])
            rng.shuffle(to[head:])
        batches[to, column] = items[run]
        if head < k:
            current = speaker[-1]
            taken[:] = False
            taken[to[speaker == current]] = True
    return batches
