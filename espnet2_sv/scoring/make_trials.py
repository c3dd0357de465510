"""Random trial lists, balanced over classes, durations and speakers."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espnet2_sv.errors import SVError

CONDITIONS = ("short-short", "short-long", "long-long")
# All pairs are enumerated if there are at most this many per wanted trial.
_MAX_ENUMERATED = 4


@dataclass(frozen=True)
class Trial:
    """One line of a trial list."""

    enroll: str
    test: str
    label: str
    condition: str


@dataclass(frozen=True)
class _Sides:
    """Candidate utterances of both sides of a condition's trials, by speaker.

    Attributes:
        one: For each speaker, utterance numbers.
        other: Those of the other side; the same object if both sides are alike.
    """

    one: list[np.ndarray]
    other: list[np.ndarray]

    @property
    def same(self) -> bool:
        return self.one is self.other


def make_trials(
    utt2spk: Mapping[str, str],
    n_target: int,
    n_nontarget: int,
    seed: int = 0,
    utt2dur: Mapping[str, float] | None = None,
    conditions: Sequence[str] = CONDITIONS,
    boundary: float | None = None,
    same: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Trial]:
    """Draw trials, equally many per condition and, where pairs allow, per speaker.

    No pair of utterances occurs twice, in either order; the enrolment side is random.

    Args:
        utt2spk: Speaker by utterance.
        n_target: Target trials over all conditions.
        n_nontarget: Nontarget trials over all conditions.
        seed: The same seed gives the same list.
        utt2dur: Duration in seconds by utterance; without it there is one condition,
            ``any-any``.
        conditions: A selection of :data:`CONDITIONS`.
        boundary: Duration in seconds below which an utterance is short; the median by
            default.
        same: By their names, attributes of utterances of which both sides of a trial
            have the same value, e.g. ``{"utt2lang": {"u1": "en", "u2": "de"}}``.

    Returns:
        The trials, targets first.

    Raises:
        SVError: A condition is unknown, an utterance has no duration or no value of an
            attribute, or there is no pair of one of the classes. Fewer pairs than
            wanted are a logged warning.
    """
    utterances = sorted(utt2spk)
    speakers = np.unique([utt2spk[utt] for utt in utterances], return_inverse=True)[1]
    if utt2dur is None:
        conditions, groups = ("any-any",), {"any": np.ones(len(utterances), bool)}
    else:
        groups = _short_and_long(utterances, utt2dur, boundary)
    unknown = [c for c in conditions if c not in (*CONDITIONS, "any-any")]
    if unknown or not conditions:
        raise SVError(
            f"condition '{' '.join(unknown)}': choose from {', '.join(CONDITIONS)}"
        )
    cells = _cells(utterances, same or {})
    by_speaker = {
        name: [_by_speaker(chosen & cell, speakers) for cell in cells]
        for name, chosen in groups.items()
    }
    rng = np.random.default_rng(seed)
    trials: list[Trial] = []
    for label, total, draw in (
        ("target", n_target, _draw_targets),
        ("nontarget", n_nontarget, _draw_nontargets),
    ):
        before = len(trials)
        for i, condition in enumerate(conditions):
            one, other = (by_speaker[side] for side in condition.split("-"))
            sides = [_Sides(*both) for both in zip(one, other, strict=True)]
            wanted = (total + i) // len(conditions)
            pairs = draw(sides, wanted, rng)
            if len(pairs) < wanted:
                logging.warning(
                    f"{condition}: only {len(pairs)} of {wanted} {label} trials are"
                    " possible"
                )
            pairs = np.where(rng.random((len(pairs), 1)) < 0.5, pairs, pairs[:, ::-1])
            trials += [
                Trial(utterances[a], utterances[b], label, condition) for a, b in pairs
            ]
        if len(trials) == before:
            alike = f" with the same values in {', '.join(same)}" if same else ""
            raise SVError(
                f"{len(utterances)} utterances of {len(set(utt2spk.values()))} speakers"
                f" make no {label} trial{alike}; add recordings"
            )
    return trials


def _cells(
    utterances: list[str], same: Mapping[str, Mapping[str, str]]
) -> list[np.ndarray]:
    """Masks (N,) of the utterances that agree in all attributes."""
    for name, values in same.items():
        missing = [utt for utt in utterances if utt not in values]
        if missing:
            raise SVError(
                f"{name}: has no value for {missing[0]} ({len(missing)} are missing);"
                " add them, or leave these utterances out of utt2spk"
            )
    keys = ["\n".join(values[utt] for values in same.values()) for utt in utterances]
    index = np.unique(keys, return_inverse=True)[1]
    return [index == i for i in range(int(index.max(initial=0)) + 1)]


def _short_and_long(
    utterances: list[str], utt2dur: Mapping[str, float], boundary: float | None
) -> dict[str, np.ndarray]:
    missing = [utt for utt in utterances if utt not in utt2dur]
    if missing:
        raise SVError(f"utt2dur: has no {missing[0]} ({len(missing)} are missing)")
    seconds = np.array([utt2dur[utt] for utt in utterances])
    short = seconds < (np.median(seconds) if boundary is None else boundary)
    return {"short": short, "long": ~short}


def _by_speaker(chosen: np.ndarray, speakers: np.ndarray) -> list[np.ndarray]:
    """Numbers of the chosen utterances, ascending, of each speaker."""
    numbers = np.flatnonzero(chosen)
    numbers = numbers[np.argsort(speakers[numbers], kind="stable")]
    n_speakers = int(speakers.max(initial=-1)) + 1
    ends = np.cumsum(np.bincount(speakers[numbers], minlength=n_speakers))
    return np.split(numbers, ends)[:n_speakers]


def _draw_targets(
    cells: list[_Sides], wanted: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw up to ``wanted`` target pairs (n, 2), spread evenly over the speakers.

    The pairs of a speaker are spread evenly over the cells.
    """
    sizes = [
        [(len(a), len(b)) for a, b in zip(sides.one, sides.other, strict=True)]
        for sides in cells
    ]
    have = np.array(
        [
            [a * (a - 1) // 2 if sides.same else a * b for a, b in of_cell]
            for sides, of_cell in zip(cells, sizes, strict=True)
        ]
    )
    pairs = [np.zeros((0, 2), np.int64)]
    for s, total in enumerate(_spread(wanted, have.sum(axis=0), rng)):
        for c, count in enumerate(_spread(int(total), have[:, s], rng)):
            code = (
                rng.choice(have[c, s], count, replace=False)
                if count
                else np.zeros(0, np.int64)
            )
            if cells[c].same:  # codes 0, 1, 2, ... are (1, 0), (2, 0), (2, 1), ...
                i = ((1 + np.sqrt(1 + 8 * code)) / 2).astype(np.int64)
                j = code - i * (i - 1) // 2
            else:
                i, j = np.divmod(code, max(sizes[c][s][1], 1))
            pairs.append(np.stack([cells[c].one[s][i], cells[c].other[s][j]], axis=1))
    return np.concatenate(pairs)


def _spread(total: int, have: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Distribute ``total`` as evenly as the limits ``have`` allow."""
    counts = np.zeros_like(have)
    while (left := total - int(counts.sum())) > 0 and len(
        open_ := np.flatnonzero(counts < have)
    ):
        if left < len(open_):
            open_ = rng.permutation(open_)[:left]
        counts[open_] += np.minimum(
            have[open_] - counts[open_], max(left // len(open_), 1)
        )
    return counts


def _draw_nontargets(
    cells: list[_Sides], wanted: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw up to ``wanted`` nontarget pairs (n, 2), spread evenly over the speakers."""
    have = np.array([_count_nontargets(sides) for sides in cells])
    counts = _share_out(wanted, cells, have, rng)
    drawn = [
        _draw_nontargets_of(sides, int(count), int(pairs), rng)
        for sides, count, pairs in zip(cells, counts, have, strict=True)
        if count
    ]
    return np.concatenate([np.zeros((0, 2), np.int64), *drawn])


def _share_out(
    wanted: int, cells: list[_Sides], have: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Numbers of nontarget pairs of the cells (C,), as many per speaker as possible."""
    if len(cells) == 1:
        return np.minimum(wanted, have)
    speakers = [
        sum(len(a) + len(b) > 0 for a, b in zip(cell.one, cell.other, strict=True))
        for cell in cells
    ]
    cell_of = np.repeat(np.arange(len(cells)), speakers)
    counts = np.zeros_like(have)
    while (left := min(wanted, int(have.sum())) - int(counts.sum())) > 0:
        # what a cell has no pairs for goes to the others, in the next round
        limits = np.where(counts < have, left, 0)[cell_of]
        given = np.zeros_like(have)
        np.add.at(given, cell_of, _spread(left, limits, rng))
        counts = np.minimum(counts + given, have)
    return counts


def _count_nontargets(sides: _Sides) -> int:
    one, other = (np.array([len(u) for u in side]) for side in (sides.one, sides.other))
    return int(one.sum() * other.sum() - one @ other) // (2 if sides.same else 1)


def _draw_nontargets_of(
    sides: _Sides, wanted: int, have: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw ``wanted`` of the ``have`` nontarget pairs of a cell (wanted, 2)."""
    if have <= _MAX_ENUMERATED * wanted:
        return _all_nontargets(sides)[rng.choice(have, wanted, replace=False)]
    chosen = np.zeros(0, np.int64)
    limit = 1 + max(
        int(u.max()) for side in (sides.one, sides.other) for u in side if len(u)
    )
    while len(chosen) < wanted:
        (s, a), (t, b) = (
            _in_turn(side, 2 * wanted, rng) for side in (sides.one, sides.other)
        )
        a, b = a[s != t], b[s != t]
        codes = (
            np.minimum(a, b) * limit + np.maximum(a, b) if sides.same else a * limit + b
        )
        pool = np.concatenate([chosen, codes])
        chosen = pool[np.sort(np.unique(pool, return_index=True)[1])][:wanted]
    return np.stack(np.divmod(chosen, limit), axis=1)


def _in_turn(
    by_speaker: list[np.ndarray], count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cycle through speakers in random order; return them (count,) and utterances."""
    present = np.array(
        [s for s, utterances in enumerate(by_speaker) if len(utterances)]
    )
    rounds = -(-count // len(present))
    speakers = np.concatenate([rng.permutation(present) for _ in range(rounds)])[:count]
    sizes = np.array([len(utterances) for utterances in by_speaker])
    starts = np.cumsum(sizes) - sizes
    place = starts[speakers] + (rng.random(count) * sizes[speakers]).astype(np.int64)
    return speakers, np.concatenate(by_speaker)[place]


def _all_nontargets(sides: _Sides) -> np.ndarray:
    a, b = (np.concatenate(side) for side in (sides.one, sides.other))
    s, t = (
        np.repeat(np.arange(len(x)), [len(u) for u in x])
        for x in (sides.one, sides.other)
    )
    keep = s[:, None] != t
    if sides.same:
        keep &= np.arange(len(a))[:, None] < np.arange(len(b))
    i, j = np.nonzero(keep)
    return np.stack([a[i], b[j]], axis=1)
