"""Small Kaldi files as dictionaries; :mod:`espnet2_sv.data.table` serves the large ones."""

import os
from collections.abc import Iterable, Mapping

from espnet2_sv.data.table import KaldiTable
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write


def read_two_column(
    path: str | os.PathLike, allow_empty_values: bool = False
) -> dict[str, str]:
    """Read ``key value`` lines in file order.

    Raises:
        SVError: Missing file, empty line, key without value, repeated key.
    """
    return dict(KaldiTable.read(path, allow_empty_values).items())


def write_two_column(path: str | os.PathLike, mapping: Mapping[str, str]) -> None:
    """Write ``key value`` lines sorted in byte (C locale) order, as Kaldi wants them."""
    with atomic_write(path) as f:
        f.writelines(f"{key} {mapping[key]}".rstrip() + "\n" for key in sorted(mapping))


def read_spk2utt(path: str | os.PathLike) -> dict[str, list[str]]:
    """Read ``speaker utt1 utt2 ...`` lines; an utterance of two speakers is an SVError."""
    spk2utt = {speaker: utts.split() for speaker, utts in read_two_column(path).items()}
    try:
        spk2utt_to_utt2spk(spk2utt)
    except SVError as e:
        raise SVError(f"{path}: {e}") from e
    return spk2utt


def write_spk2utt(
    path: str | os.PathLike, spk2utt: Mapping[str, Iterable[str]]
) -> None:
    """Write ``speaker utt1 utt2 ...`` lines, speakers and utterances sorted."""
    write_two_column(
        path, {spk: " ".join(sorted(utts)) for spk, utts in spk2utt.items()}
    )


def spk2utt_to_utt2spk(spk2utt: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Turn the map around; an utterance listed twice is an SVError."""
    utt2spk: dict[str, str] = {}
    for speaker, utts in spk2utt.items():
        for utt in utts:
            if utt in utt2spk:
                raise SVError(
                    f"utterance {utt} is listed for speaker {utt2spk[utt]} and again"
                    f" for {speaker}; list it once"
                )
            utt2spk[utt] = speaker
    return utt2spk


def utt2spk_to_spk2utt(utt2spk: Mapping[str, str]) -> dict[str, list[str]]:
    """Turn the map around; speakers and utterances come out sorted."""
    spk2utt: dict[str, list[str]] = {
        speaker: [] for speaker in sorted(set(utt2spk.values()))
    }
    for utt in sorted(utt2spk):
        spk2utt[utt2spk[utt]].append(utt)
    return spk2utt
