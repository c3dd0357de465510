"""Making trial lists from speakers."""

from collections.abc import Mapping

import numpy as np

from espnet2_sv.errors import SVError

_ALL_PAIRS = (
    5_000_000  # up to here all pairs are listed and drawn from; beyond, drawn by chance
)


def make_trials(
    utt2spk: Mapping[str, str],
    n_target: int | None,
    n_nontarget: int | None,
    seed: int = 0,
) -> list[str]:
    """Draw trials at random, each pair of different utterances at most once in either order.

    Target pairs are of one speaker, nontarget pairs of two.

    Args:
        utt2spk: Speaker of each utterance; its order does not matter.
        n_target: Target trials wanted; None means all there are.
        n_nontarget: Nontarget trials wanted; None means all there are.
        seed: The same seed gives the same list.

    Returns:
        Sorted lines ``enroll_utt test_utt target|nontarget``.

    Raises:
        SVError: There are not as many pairs as wanted, or none.
    """
    utts = sorted(utt2spk)
    speakers = np.unique([utt2spk[utt] for utt in utts], return_inverse=True)[1]
    rng = np.random.default_rng((seed, len(utts)))
    per_speaker = np.bincount(speakers) if len(utts) else np.zeros(0, int)
    have_target = int((per_speaker * (per_speaker - 1) // 2).sum())
    have_nontarget = len(utts) * (len(utts) - 1) // 2 - have_target
    lines = []
    for name, wanted, have, same in (
        ("target", n_target, have_target, True),
        ("nontarget", n_nontarget, have_nontarget, False),
    ):
        wanted = have if wanted is None else wanted
        if not 0 < wanted <= have:
            raise SVError(
                f"{wanted} {name} trials are wanted, but the {len(utts)} utterances of "
                f"{len(per_speaker)} speakers make {have}; "
                + ("ask for 1 or more" if wanted < 1 else "ask for fewer or add speech")
            )
        pairs = _draw(speakers, wanted, have, same, rng)
        flip = (
            rng.random(len(pairs)) < 0.5
        )  # neither side should always be the first by name
        pairs[flip] = pairs[flip][:, ::-1]
        lines += [f"{utts[a]} {utts[b]} {name}" for a, b in pairs]
    return sorted(lines)


def _draw(
    speakers: np.ndarray, wanted: int, have: int, same: bool, rng: np.random.Generator
) -> np.ndarray:
    """Draw (wanted, 2) of the ``have`` pairs of utterances i < j of same or other speakers."""
    n = len(speakers)
    if same:
        pairs = _same_speaker_pairs(speakers) if have <= _ALL_PAIRS else None
    else:
        pairs = _different_pairs(speakers) if n * (n - 1) // 2 <= _ALL_PAIRS else None
    if pairs is not None:
        return pairs[rng.choice(have, wanted, replace=False)]
    if wanted > have // 2:
        raise SVError(
            f"{wanted} of {have} pairs is too large a part to draw; ask for fewer"
        )
    order = np.argsort(speakers, kind="stable")
    count = np.bincount(speakers)
    first = np.cumsum(count) - count
    chosen = np.zeros(0, np.int64)
    while len(chosen) < wanted:
        a = rng.integers(n, size=2 * wanted)
        if same:
            # partners are uniform over the speaker's utterances; a speaker's weight is
            # count ** 2
            keep = rng.random(len(a)) * count.max() < count[speakers[a]]
            a = a[keep]
            within = (rng.random(len(a)) * count[speakers[a]]).astype(np.int64)
            b = order[first[speakers[a]] + within]
        else:
            b = rng.integers(n, size=len(a))
        good = (a != b) & ((speakers[a] == speakers[b]) == same)
        codes = np.minimum(a, b)[good] * n + np.maximum(a, b)[good]
        pool = np.concatenate([chosen, codes])
        chosen = pool[np.sort(np.unique(pool, return_index=True)[1])][:wanted]
    return np.stack([chosen // n, chosen % n], axis=1)


def _same_speaker_pairs(speakers: np.ndarray) -> np.ndarray:
    order = np.argsort(speakers, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(speakers))[:-1])
    pairs = [np.stack(np.triu_indices(len(g), 1), axis=1) for g in groups]
    return np.concatenate([g[p] for g, p in zip(groups, pairs, strict=True)])


def _different_pairs(speakers: np.ndarray) -> np.ndarray:
    a, b = np.triu_indices(len(speakers), 1)
    keep = speakers[a] != speakers[b]
    return np.stack([a[keep], b[keep]], axis=1)
