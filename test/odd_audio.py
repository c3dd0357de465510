"""Unusual and damaged recordings, made on the spot, for the tests of every command.

Each maker writes one file to a folder and returns its ``wav.scp`` entry.
"""

import io
import struct
from pathlib import Path

import av
import numpy as np
import soundfile

RATE = 16000
SECONDS = 2


def speech(seconds: float = SECONDS, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """White noise whose level moves like that of speech, float32 (S,) or (S, C)."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * rate)) / rate
    level = 0.05 + 0.05 * np.sin(2 * np.pi * 3 * t) ** 2
    x = (level[:, None] * rng.standard_normal((len(t), channels))).astype(np.float32)
    return x[:, 0] if channels == 1 else x


def encode(samples=None, form="WAV", subtype=None, rate=RATE, endian=None) -> bytes:
    """Encode with libsndfile."""
    stream = io.BytesIO()
    x = speech() if samples is None else samples
    soundfile.write(stream, x, rate, format=form, subtype=subtype, endian=endian)
    return stream.getvalue()


def encode_av(
    name: str, codec: str, rate=RATE, samples=None, quality=None, **options
) -> bytes:
    """Encode with PyAV; ``name`` gives the container, ``quality`` a variable rate."""
    stream = io.BytesIO()
    x = speech(rate=rate) if samples is None else samples
    container = av.open(stream, "w", format=name, options=options)
    audio = container.add_stream(codec, rate=rate, layout="mono")
    frame = av.AudioFrame.from_ndarray(
        (32767 * x).astype(np.int16)[None], format="s16", layout="mono"
    )
    frame.rate = rate
    if quality is None:
        audio.bit_rate = 64000
    else:
        audio.options = {"flags": "+qscale", "global_quality": str(118 * quality)}
    audio.codec_context.open(strict=False)
    convert = av.AudioResampler(
        format=audio.codec_context.format.name,
        layout="mono",
        rate=rate,
        frame_size=audio.codec_context.frame_size or 0,
    )
    for part in [*convert.resample(frame), *convert.resample(None)]:
        container.mux(audio.encode(part))
    container.mux(audio.encode(None))
    container.close()
    return stream.getvalue()


def headerless_mp3(**options) -> bytes:
    """An mp3 whose length no header gives; with ``id3v2_version="0"`` without tags."""
    return encode_av("mp3", "libmp3lame", write_xing="0", **options)


def id3_tag(size: int) -> bytes:
    """An ID3v2.4 tag that holds ``size`` bytes, e.g. of cover art."""
    digits = bytes(size >> 7 * i & 127 for i in (3, 2, 1, 0))
    return b"ID3\4\0\0" + digits + bytes(range(256)) * (size // 256) + bytes(size % 256)


def set_size(wav: bytes, size: int, name: bytes = b"data") -> bytes:
    """Write another length into the header of a wav."""
    place = wav.index(name) + 4
    return wav[:place] + struct.pack("<I", size) + wav[place + 4 :]


def streamed(wav: bytes, size: int = 0xFFFFFFFF) -> bytes:
    """A wav as programs write it to a pipe, which do not know its length."""
    return set_size(set_size(wav, size), size, b"RIFF")


def set_rate(wav: bytes, rate: int) -> bytes:
    """Write another sampling rate into the header of a 16-bit mono wav."""
    place = wav.index(b"fmt ") + 12
    return wav[:place] + struct.pack("<II", rate, 2 * rate % 2**32) + wav[place + 8 :]


def streamed_flac() -> bytes:
    """A flac whose header does not give its length."""
    flac = bytearray(encode(form="FLAC"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    return bytes(flac)


# format, subtype and the sampling rate that it has
CONTAINERS = {
    "pcm.wav": lambda: encode(),
    "pcm24.wav": lambda: encode(subtype="PCM_24"),
    "float.wav": lambda: encode(subtype="FLOAT"),
    "ulaw.wav": lambda: encode(subtype="ULAW"),
    "ima.wav": lambda: encode(subtype="IMA_ADPCM"),
    "extensible.wav": lambda: encode(form="WAVEX"),
    "rifx.wav": lambda: encode(endian="BIG"),
    "rf64.wav": lambda: encode(form="RF64"),
    "a.w64": lambda: encode(form="W64"),
    "a.aiff": lambda: encode(form="AIFF"),
    "a.au": lambda: encode(form="AU"),
    "little.au": lambda: encode(form="AU", endian="LITTLE"),
    "a.caf": lambda: encode(form="CAF"),
    "a.sph": lambda: encode(form="NIST"),
    "ulaw.sph": lambda: encode(form="NIST", subtype="ULAW"),
    "a.flac": lambda: encode(form="FLAC"),
    "a.ogg": lambda: encode(form="OGG", subtype="VORBIS"),
    "a.opus": lambda: encode(form="OGG", subtype="OPUS"),
    "a.mp3": lambda: encode(form="MP3"),
    "a.m4a": lambda: encode_av("mp4", "aac"),
    "a.mka": lambda: encode_av("matroska", "aac"),
    "a.webm": lambda: encode_av("webm", "libopus", 48000),
    "a.wma": lambda: encode_av("asf", "wmav2"),
}
# decoded from their beginning only
UNSEEKABLE = {
    "gsm.wav": lambda: encode(speech(rate=8000), subtype="GSM610", rate=8000),
    "g721.wav": lambda: encode(speech(rate=8000), subtype="G721_32", rate=8000),
    "nms.wav": lambda: encode(subtype="NMS_ADPCM_32"),
    "g723.au": lambda: encode(speech(rate=8000), "AU", "G723_40", 8000),
    "gsm.aiff": lambda: encode(speech(rate=8000), "AIFF", "GSM610", 8000),
    "a.ac3": lambda: encode_av("ac3", "ac3", 48000),
    "a.g722": lambda: encode_av("g722", "g722"),
    "a.aac": lambda: encode_av("adts", "aac"),
}
# their headers do not give the length, or a wrong one
UNKNOWN_LENGTH = {
    "ones.wav": lambda: streamed(encode()),
    "zeros.wav": lambda: streamed(encode(), 0),
    "sox.wav": lambda: streamed(encode(), 0x7FFFFFFF),
    "data.wav": lambda: set_size(encode(), 0xFFFFFFFF),
    "streamed.flac": streamed_flac,
    "plain.mp3": lambda: headerless_mp3(id3v2_version="0"),
    "small_tag.mp3": lambda: id3_tag(3000) + headerless_mp3(id3v2_version="0"),
    "tag.mp3": lambda: id3_tag(70_000) + headerless_mp3(),
    "cover.mp3": lambda: id3_tag(5_000_000) + headerless_mp3(),
    "vbr.mp3": lambda: headerless_mp3(quality=9),
    "old_tag.mp3": lambda: headerless_mp3() + b"TAG" + bytes(125),
    "ape_tag.mp3": lambda: headerless_mp3() + b"APETAGEX" + bytes(3000),
    "middle.mp3": lambda: headerless_mp3(id3v2_version="0")[300:],
    "cover_and_header.mp3": lambda: id3_tag(500_000) + encode(form="MP3"),
}


def write(folder: Path, name: str, content: bytes) -> str:
    """Write a file; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return str(folder / name)
