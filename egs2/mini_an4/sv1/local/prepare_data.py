#!/usr/bin/env python3
"""Cuts AN4 speech into segments and writes Kaldi data directories for mini_an4.

    prepare_data.py DOWNLOADS DATA

Eight recordings of five speakers make hardly any trials, so they are cut into segments,
all of the same length so that duration does not depend on the speaker. Test speakers
are not in training. Validation segments are from training speakers because there are
too few speakers to hold any out, so the validation EER is not an estimate of anything.
"""

import argparse
import itertools
import re
from pathlib import Path

import soundfile

SEGMENT_SECONDS = 0.7  # the shortest recording
VALID_SEGMENTS = 2  # of each training speaker; two make a target trial
# <s> MARCH THIRD </s> (cen8-fbbh-b)
TRANSCRIPT = re.compile(r"(?:<s> )?(?P<text>.*?)(?: </s>)? \((?P<name>.+)\)")


def cut(recording: Path, outdir: Path) -> list[tuple[str, str, str]]:
    """Write segments of a recording as wav files; the remainder is not used.

    Args:
        recording: ``.../SPEAKER/NAME-SPEAKER-b.sph``.
        outdir: Folder for the segments.

    Returns:
        A (speaker, utterance, file) for each segment.
    """
    samples, rate = soundfile.read(recording, dtype="int16")
    speaker = recording.parent.name
    length = round(SEGMENT_SECONDS * rate)
    segments = []
    for i in range(len(samples) // length):
        utterance = f"{speaker}-{recording.stem}-{i + 1}"
        path = outdir / f"{utterance}.wav"
        soundfile.write(
            path, samples[i * length : (i + 1) * length], rate, subtype="PCM_16"
        )
        segments.append((speaker, utterance, str(path)))
    return segments


def write_lines(path: Path, lines: list[str]) -> None:
    """Write sorted lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8")


def write_set(folder: Path, segments: list[tuple[str, str, str]], trials: bool) -> None:
    """Write wav.scp, utt2spk, spk2utt and, optionally, all pairs as trials."""
    segments = sorted(segments)
    write_lines(
        folder / "wav.scp", [f"{utterance} {path}" for _, utterance, path in segments]
    )
    write_lines(
        folder / "utt2spk", [f"{utterance} {spk}" for spk, utterance, _ in segments]
    )
    by_speaker = {
        speaker: " ".join(utterance for _, utterance, _ in group)
        for speaker, group in itertools.groupby(
            segments, key=lambda segment: segment[0]
        )
    }
    write_lines(
        folder / "spk2utt",
        [f"{spk} {utterances}" for spk, utterances in by_speaker.items()],
    )
    if trials:
        pairs = itertools.combinations(segments, 2)
        write_lines(
            folder / "trials",
            [
                f"{a[1]} {b[1]} {'target' if a[0] == b[0] else 'nontarget'}"
                for a, b in pairs
            ],
        )


def write_asr_set(folder: Path, an4: Path, recordings: list[Path]) -> None:
    """Write wav.scp and text of all recordings with a transcript, uncut."""
    lines = (
        (an4 / "etc/an4_train.transcription").read_text(encoding="utf-8").splitlines()
    )
    matches = [TRANSCRIPT.fullmatch(line) for line in lines]
    texts = {match["name"]: match["text"] for match in matches if match}
    transcribed = [path for path in recordings if path.stem in texts]
    write_lines(folder / "wav.scp", [f"{path.stem} {path}" for path in transcribed])
    write_lines(
        folder / "text", [f"{path.stem} {texts[path.stem]}" for path in transcribed]
    )


def main() -> None:
    """Write all sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("downloads", type=Path)
    parser.add_argument("data", type=Path)
    args = parser.parse_args()
    an4, wavs = args.downloads / "an4", args.data / "segments"
    wavs.mkdir(parents=True, exist_ok=True)

    train_recordings = sorted((an4 / "wav/an4_clstk").glob("*/*.sph"))
    train, valid = [], []
    for speaker in sorted({path.parent for path in train_recordings}):
        segments = [
            s for path in sorted(speaker.glob("*.sph")) for s in cut(path, wavs)
        ]
        train += segments[:-VALID_SEGMENTS]
        valid += segments[-VALID_SEGMENTS:]
    test_recordings = sorted((an4 / "wav/an4test_clstk").glob("*/*.sph"))
    test = [s for path in test_recordings for s in cut(path, wavs)]
    write_set(args.data / "train", train, trials=False)
    write_set(args.data / "valid", valid, trials=True)
    write_set(args.data / "test", test, trials=True)
    write_asr_set(args.data / "asr_train", an4, train_recordings)
    for name, folder in [("noise", "noise"), ("rirs", "rirs")]:
        files = sorted((args.downloads / folder).glob("*.wav"))
        write_lines(
            args.data / f"{name}.scp", [f"{path.stem} {path}" for path in files]
        )


if __name__ == "__main__":
    main()
