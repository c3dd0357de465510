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
    name: str,
    codec: str,
    rate=RATE,
    samples=None,
    quality=None,
    bit_rate=64000,
    picture=None,
    **options,
) -> bytes:
    """Encode with PyAV.

    ``name`` gives the container, ``quality`` a variable rate, and ``picture`` the codec
    of a video that goes with it.
    """
    stream = io.BytesIO()
    x = speech(rate=rate) if samples is None else samples
    container = av.open(stream, "w", format=name, options=options)
    video = picture and container.add_stream(picture, rate=10)
    audio = container.add_stream(codec, rate=rate, layout="mono")
    frame = av.AudioFrame.from_ndarray(
        (32767 * x).astype(np.int16)[None], format="s16", layout="mono"
    )
    frame.rate = rate
    if quality is None:
        audio.bit_rate = bit_rate
    else:
        audio.options = {"flags": "+qscale", "global_quality": str(118 * quality)}
    audio.codec_context.open(strict=False)
    convert = av.AudioResampler(
        format=audio.codec_context.format.name,
        layout="mono",
        rate=rate,
        frame_size=audio.codec_context.frame_size or 0,
    )
    if video:
        _show(container, video, len(x) / rate)
    for part in [*convert.resample(frame), *convert.resample(None)]:
        container.mux(audio.encode(part))
    container.mux(audio.encode(None))
    container.close()
    return stream.getvalue()


def _show(container, video, seconds: float) -> None:
    """Write frames of grey, of 64 by 64 pixels."""
    video.width = video.height = 64
    video.pix_fmt = "yuv420p"
    for i in range(round(10 * seconds)):
        pixels = np.full((64, 64, 3), 5 * i, np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = i
        container.mux(video.encode(frame))
    container.mux(video.encode(None))


def amr(wideband: bool) -> bytes:
    """Two seconds of AMR: random speech frames, and pauses as telephones make them."""
    rng = np.random.default_rng(0)
    # frame type 7 of 31 bytes, or 2 of 32, and comfort noise of 5; the type is in bits
    # 3 to 6 of the first byte
    kind, size, noise = (2, 32, 9) if wideband else (7, 31, 8)
    content = b"#!AMR-WB\n" if wideband else b"#!AMR\n"
    for i in range(50 * SECONDS):
        if i % 30 < 25:
            content += bytes([kind << 3 | 4]) + rng.bytes(size)
        elif i % 30 == 25:
            content += bytes([noise << 3 | 4]) + rng.bytes(5)
        else:
            content += bytes([15 << 3 | 4])  # no data
    return content


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


def _av(name: str, codec: str, rate: int = RATE, **options):
    return lambda: encode_av(name, codec, rate, **options)


def _sf(form: str, subtype: str, rate: int = RATE):
    return lambda: encode(speech(rate=rate), form, subtype, rate)


# the rest of what libsndfile and PyAV decode and can encode, or nearly so
FURTHER = {
    "alac.m4a": _av("mov", "alac"),
    "pcm.mov": _av("mov", "pcm_s16le"),
    "opus.mp4": _av("mp4", "libopus", 48000),
    "mp3.mp4": _av("mp4", "libmp3lame"),
    "ac3.mp4": _av("mp4", "ac3", 48000),
    "a.3gp": _av("3gp", "aac"),
    "a.3g2": _av("3g2", "aac"),
    "opus.mka": _av("matroska", "libopus", 48000),
    "pcm.mka": _av("matroska", "pcm_s16le"),
    "mp3.mkv": _av("matroska", "libmp3lame"),
    "ac3.mkv": _av("matroska", "ac3", 48000),
    "video.mp4": _av("mp4", "aac", picture="mpeg4"),
    "video.mkv": _av("matroska", "libopus", 48000, picture="mpeg4"),
    "video.webm": _av("webm", "libopus", 48000, picture="libvpx"),
    "video.avi": _av("avi", "libmp3lame", picture="mpeg4"),
    "video.flv": _av("flv", "aac", 44100, picture="flv"),
    "video.ts": _av("mpegts", "aac", picture="mpeg2video"),
    "video.3gp": _av("3gp", "aac", picture="mpeg4"),
    "video.wmv": _av("asf", "wmav2", 44100, picture="wmv2"),
    "a.flv": _av("flv", "libmp3lame", 44100),
    "speech.flv": _av("flv", "nellymoser"),
    "a.avi": _av("avi", "pcm_s16le"),
    "a.ts": _av("mpegts", "ac3", 48000),
    "a.mpg": _av("mpeg", "mp2", 48000),
    "v1.wma": _av("asf", "wmav1"),
    "mp3.asf": _av("asf", "libmp3lame"),
    "a.eac3": _av("eac3", "eac3", 48000),
    "a.latm": _av("latm", "aac"),
    "a.mp2": _av("mp2", "mp2"),
    "a.tta": _av("tta", "tta"),
    "a.wv": _av("wv", "wavpack"),
    "a.adx": _av("adx", "adpcm_adx", 22050),
    "a.ra": _av("rm", "real_144", 8000, bit_rate=8000),
    "a.nut": _av("nut", "pcm_s16le"),
    "a.sox": _av("sox", "pcm_s32le"),
    "a.sbc": _av("sbc", "sbc"),
    "a.g723_1": _av("g723_1", "g723_1", 8000, bit_rate=6300),
    "g723_1.wav": _av("wav", "g723_1", 8000, bit_rate=6300),
    "g726.wav": _av("wav", "g726", 8000, bit_rate=32000),
    "yamaha.wav": _av("wav", "adpcm_yamaha"),
    "ac3.wav": _av("wav", "ac3", 48000),
    "wma.wav": _av("wav", "wmav2"),
    "mp3.wav": _av("wav", "libmp3lame"),
    "ima.aifc": _av("aiff", "adpcm_ima_qt", 22050),
    "alac.caf": _av("caf", "alac"),
    "a.amr": lambda: amr(wideband=False),
    "a.awb": lambda: amr(wideband=True),
    "a.gsm": _sf("RAW", "GSM610", 8000),
    "gsm.w64": _sf("W64", "GSM610", 8000),
    "alaw.wav": _sf("WAV", "ALAW", 8000),
    "u8.wav": _sf("WAV", "PCM_U8"),
    "ms.wav": _sf("WAV", "MS_ADPCM"),
    "double.wav": _sf("WAV", "DOUBLE"),
    "ulaw.w64": _sf("W64", "ULAW", 8000),
    "ulaw.aiff": _sf("AIFF", "ULAW", 8000),
    "dwvw.aiff": _sf("AIFF", "DWVW_16"),
    "ulaw.au": _sf("AU", "ULAW", 8000),
    "g721.au": _sf("AU", "G721_32", 8000),
    "24.caf": _sf("CAF", "PCM_24"),
    "lossless.caf": _sf("CAF", "ALAC_16"),
    "24.flac": _sf("FLAC", "PCM_24"),
    "a.voc": _sf("VOC", "PCM_16"),
    "a.sf": _sf("IRCAM", "PCM_16"),
    "a.8svx": _sf("SVX", "PCM_16"),
    "a.avr": _sf("AVR", "PCM_16"),
    "a.pvf": _sf("PVF", "PCM_16"),
    "a.paf": _sf("PAF", "PCM_16"),
    "a.sds": _sf("SDS", "PCM_16"),
    "a.htk": _sf("HTK", "PCM_16"),
    "a.wve": _sf("WVE", "ALAW", 8000),
    "a.mat": _sf("MAT5", "PCM_16"),
    "a.mpc": _sf("MPC2K", "PCM_16", 44100),
}
# what only the name of the file tells: these lose it in an ark
BY_NAME = ("a.g722", "a.sbc", "a.g723_1")
# samples alone, whose sampling rate no header gives
HEADERLESS = {
    "a.vox": _sf("RAW", "VOX_ADPCM", 8000),
    "a.ul": _av("mulaw", "pcm_mulaw", 8000),
    "a.al": _av("alaw", "pcm_alaw", 8000),
    "a.sw": _av("s16le", "pcm_s16le", 8000),
    "ulaw.snd": _sf("RAW", "ULAW", 8000),
    "text.au": lambda: b"This is no audio at all.\n" * 99,
    "text.gsm": lambda: b"This is no audio at all.\n" * 99,
    "text.vox": lambda: b"This is no audio at all.\n" * 99,
}


def write(folder: Path, name: str, content: bytes) -> str:
    """Write a file; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return str(folder / name)


def without_end_of_stream(content: bytes) -> bytes:
    """Return an Ogg file whose last page is not marked as the last."""
    page = bytearray(content[content.rfind(b"OggS") :])
    page[5] &= ~4
    page[22:26] = bytes(4)  # the checksum counts as zero in itself
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1) ^ (0x104C11DB7 if checksum >> 31 else 0)
    page[22:26] = checksum.to_bytes(4, "little")
    return content[: -len(page)] + bytes(page)
