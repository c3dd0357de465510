"""Find media files that end before their own structure says.

Decoders read most of such files without complaint, as shorter recordings.
"""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO, Literal

Order = Literal["little", "big"]

# sizes from here on are what programs write that do not know the length yet
UNKNOWN_SIZE = 0x7FFF0000
_MAX_CHUNKS = 1000  # per file; whole files have a handful
_OGG_PAGE = 27 + 255 + 255 * 255  # bytes of the longest page (RFC 3533, section 6)
_OGG_HEADER = 27
_END_OF_STREAM = 4  # flag of an Ogg page
_W64_HEADER = 24  # bytes: a GUID and the size of the chunk with this header
_SEGMENT = b"\x18\x53\x80\x67"  # Matroska element that holds all but the header
_ASF = bytes.fromhex("3026b2758e66cf11")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # File Properties Object
_ASF_HEADER = 1 << 16  # bytes searched for it
_BROADCAST = 1  # ASF flag: sizes are not valid
# "sample_count -i 16000" in the header of a NIST SPHERE file
_NIST_FIELD = re.compile(rb"^(\w+) -(?:i|s\d+) (\S+)", re.MULTILINE)
_NIST_HEADER = 1 << 14
_ID3_HEADER = 10
_MPEG_SEARCH = 1 << 16  # bytes after the tags searched for the first frame
_XING_FRAMES, _XING_BYTES = 1, 2  # flags
_XING_SEARCH = 64  # bytes of the first frame; the header follows the side information
# kbit/s of MPEG-1 and MPEG-2 (2.5) by layer and index (ISO/IEC 11172-3, 13818-3)
_BIT_RATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES = {
    3: (44100, 48000, 32000),
    2: (22050, 24000, 16000),
    0: (11025, 12000, 8000),
}


def find_truncation(stream: BinaryIO) -> str | None:
    """Say what a file lacks of what its structure promises.

    Knows wav (RIFF, RIFX, RF64, W64), AIFF, 8SVX, AU, CAF, NIST SPHERE, Ogg, mp3 with
    a Xing header, MP4, Matroska and ASF. A header that does not know its length (0 or
    all ones, as streaming writers leave it) promises nothing.

    Args:
        stream: The file, seekable; its position is changed.

    Returns:
        A few words, e.g. "100 bytes are missing"; None if nothing is missing or the
        format is another.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(16)
    if head.startswith(b"OggS"):
        return _unfinished_ogg(stream, size)
    missing = _promised_end(stream, head, size) - size
    return f"{missing} bytes are missing" if missing > 0 else None


def wav_end(stream: BinaryIO, size: int, start: int = 0) -> int | None:
    """Return where the samples of a wav end, by its header.

    Args:
        stream: A file with RIFF, RIFX or RF64 at ``start``.
        size: Its size in bytes.
        start: Position in bytes.

    Returns:
        Position in bytes, possibly past the end of the file; None if the header does
        not give the length.
    """
    long_size = None
    for name, position, length in _wav_chunks(stream, size, start):
        if name == b"ds64":  # RF64: sizes in 64 bits; the data's is the second
            stream.seek(position + 8)
            long_size = int.from_bytes(stream.read(8), "little")
        if name == b"data":
            if long_size is not None and length >= UNKNOWN_SIZE:
                return position + long_size if long_size else None
            return position + length if 0 < length < UNKNOWN_SIZE else None
    return None


def wav_is_streamed(stream: BinaryIO) -> bool:
    """Whether a file is a wav that declares no samples but has some."""
    size = stream.seek(0, os.SEEK_END)
    for name, position, length in _wav_chunks(stream, size):
        if name == b"data":
            if length:
                return False
            end = position
            for follower, start, extent in _chunks(stream, end, size, 4, "little"):
                if not follower.isalnum():  # samples rather than a chunk such as LIST
                    break
                end = start + extent
            return end < size
    return False


def mp3_has_length(stream: BinaryIO) -> bool:
    """Whether the header of an mp3 file gives its length.

    Without, libsndfile guesses it from the bit rate of the first frame and the size of
    the file, tags included. The header of a file to which another one was appended is
    not valid, either.
    """
    found = _first_mpeg_frame(stream)
    if found is None:
        return False
    start, frames, length = _xing(stream, found)
    after = _read_at(stream, start + length, 4) if length else b""
    return frames > 0 and _mpeg_frame(after) is None


def _promised_end(stream: BinaryIO, head: bytes, size: int) -> int:
    """Return the position at which the audio of a file ends by its structure, or 0."""
    match head[:4]:
        case b"RIFF" | b"RIFX" | b"RF64":
            return wav_end(stream, size) or 0
        case b"FORM":
            return _end_of_chunk(_chunks(stream, 12, size, 4, "big"), b"SSND", b"BODY")
        case b"caff":
            return _end_of_chunk(_chunks(stream, 8, size, 8, "big"), b"data")
        case b"riff":
            return _end_of_w64(stream, size)
        case b".snd":
            return _end_of_au(head, "big")
        case b"dns.":
            return _end_of_au(head, "little")
        case b"NIST":
            return _end_of_nist(stream)
        case b"\x1a\x45\xdf\xa3":  # EBML
            return _end_of_matroska(stream)
    if head[4:8] == b"ftyp":
        return _end_of_mp4(stream, size)
    if head.startswith(_ASF):
        return _end_of_asf(stream)
    stream.seek(0)
    found = _first_mpeg_frame(stream)
    if found is None:
        return 0
    start, _, length = _xing(stream, found)
    return start + length


def _chunks(
    stream: BinaryIO, position: int, size: int, width: int, order: Order
) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and length of the chunks of an IFF-like file.

    Args:
        stream: The file.
        position: Start of the first chunk.
        size: Size of the file in bytes.
        width: Bytes of a chunk's length.
        order: Byte order of the length.
    """
    for _ in range(_MAX_CHUNKS):
        if position + 4 + width > size:
            return
        stream.seek(position)
        name, length = stream.read(4), int.from_bytes(stream.read(width), order)
        position += 4 + width
        yield name, position, length
        position += length + (length % 2 if width == 4 else 0)


def _wav_chunks(
    stream: BinaryIO, size: int, start: int = 0
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks of a wav that begins at ``start``, none of another file."""
    head = _read_at(stream, start, 4)
    if head in (b"RIFF", b"RIFX", b"RF64"):
        order: Order = "big" if head == b"RIFX" else "little"
        yield from _chunks(stream, start + 12, size, 4, order)


def _end_of_chunk(chunks, *names: bytes) -> int:
    for name, position, length in chunks:
        if name in names:
            unknown = not 0 < length < 1 << 63 or UNKNOWN_SIZE <= length < 1 << 32
            return 0 if unknown else position + length
    return 0


def _end_of_au(head: bytes, order: Order) -> int:
    length = int.from_bytes(head[8:12], order)
    unknown = not 0 < length < UNKNOWN_SIZE
    return 0 if unknown else int.from_bytes(head[4:8], order) + length


def _end_of_w64(stream: BinaryIO, size: int) -> int:
    position = 40  # after riff, its size and wave
    for _ in range(_MAX_CHUNKS):
        if position + _W64_HEADER > size:
            return 0
        stream.seek(position)
        guid, length = stream.read(16), int.from_bytes(stream.read(8), "little")
        if guid.startswith(b"data"):
            return position + length if _W64_HEADER < length < 1 << 62 else 0
        if length < _W64_HEADER:
            return 0
        position += length + -length % 8
    return 0


def _end_of_nist(stream: BinaryIO) -> int:
    stream.seek(0)
    lines = stream.read(_NIST_HEADER)
    size = lines[8:16].strip()  # the second line, "   1024"
    fields = dict(_NIST_FIELD.findall(lines))
    names = (b"sample_count", b"sample_n_bytes", b"channel_count")
    numbers = [size, *(fields.get(name, b"") for name in names)]
    if not all(n.isdigit() and len(n) < 16 for n in numbers[:3]):
        return 0
    if fields.get(b"sample_coding", b"pcm") not in (b"pcm", b"ulaw", b"alaw"):
        return 0
    start, count, width = map(int, numbers[:3])
    channels = int(numbers[3]) if numbers[3].isdigit() and len(numbers[3]) < 6 else 1
    return start + count * width * channels


def _end_of_mp4(stream: BinaryIO, size: int) -> int:
    """Go from box to box; each begins with its length and four letters."""
    position = 0
    for _ in range(_MAX_CHUNKS):
        if position >= size:
            break
        stream.seek(position)
        length = int.from_bytes(stream.read(4), "big")
        if length == 1:  # the length follows, in eight bytes
            stream.seek(4, os.SEEK_CUR)
            length = int.from_bytes(stream.read(8), "big")
        if length < 8:  # 0: to the end of the file
            return 0
        position += length
    return position


def _end_of_matroska(stream: BinaryIO) -> int:
    """Return where the segment ends, which follows the EBML header."""
    stream.seek(4)
    length = _vint(stream)
    if length is None:
        return 0
    stream.seek(length, os.SEEK_CUR)
    if stream.read(4) != _SEGMENT:
        return 0
    length = _vint(stream)
    return 0 if length is None else stream.tell() + length


def _vint(stream: BinaryIO) -> int | None:
    """Read an EBML integer of variable length; None if it is unknown (all ones)."""
    first = stream.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    rest = stream.read(width - 1)
    value = int.from_bytes(first + rest, "big") & ((1 << 7 * width) - 1)
    return None if value == (1 << 7 * width) - 1 else value


def _end_of_asf(stream: BinaryIO) -> int:
    stream.seek(0)
    header = stream.read(_ASF_HEADER)
    place = header.find(_ASF_FILE)
    flags = int.from_bytes(header[place + 88 : place + 92], "little")
    if place < 0 or flags & _BROADCAST:
        return 0
    return int.from_bytes(header[place + 40 : place + 48], "little")


def _unfinished_ogg(stream: BinaryIO, size: int) -> str | None:
    """Look at the last page, which must be whole.

    Of Vorbis, it need not be marked as the last: many programs leave that out, and what
    is cut rarely ends between two pages. libsndfile cannot read Opus without the mark.
    """
    stream.seek(max(size - _OGG_PAGE, 0))
    page = stream.read()
    page = page[max(page.rfind(b"OggS"), 0) :]
    segments = page[_OGG_HEADER : _OGG_HEADER + page[26]] if len(page) > 26 else b""
    whole = len(page) > 26 and len(segments) == page[26]
    if not whole or len(page) < _OGG_HEADER + len(segments) + sum(segments):
        return "its last Ogg page is cut"
    stream.seek(0)
    if b"OpusHead" in stream.read(_OGG_HEADER + 64) and not page[5] & _END_OF_STREAM:
        return (
            "its last Ogg page does not end the stream (if it is whole all the same,"
            " copy it with ffmpeg -c copy)"
        )
    return None


def _first_mpeg_frame(stream: BinaryIO) -> int | None:
    """Return the position of the first MPEG audio frame after any ID3v2 tags.

    Returns:
        The position; None if the file begins with neither a tag nor a frame, or no
        frame follows the tag.
    """
    position = 0
    for _ in range(_MAX_CHUNKS):
        tag = _read_at(stream, position, _ID3_HEADER)
        if not tag.startswith(b"ID3"):
            break
        if len(tag) < _ID3_HEADER:
            return None
        sizes = tag[6:10]  # 7 bits each
        length = sum((b & 127) << 7 * (3 - i) for i, b in enumerate(sizes))
        footer = _ID3_HEADER if tag[5] & 16 else 0
        position += _ID3_HEADER + length + footer
    if not position:
        return 0 if _mpeg_frame(tag) else None
    data = _read_at(stream, position, _MPEG_SEARCH)
    place = data.find(b"\xff")
    while place >= 0:
        if size := _mpeg_frame(data[place : place + 4]):
            after = data[place + size : place + size + 4]
            if len(after) < 4 or _mpeg_frame(after):
                return position + place
        place = data.find(b"\xff", place + 1)
    return None


def _read_at(stream: BinaryIO, position: int, size: int) -> bytes:
    stream.seek(position)
    return stream.read(size)


def _mpeg_frame(header: bytes) -> int | None:
    """Return the length in bytes of the MPEG audio frame with this header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bit_rate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or not 0 < bit_rate < 15 or rate == 3:
        return None
    rates = _BIT_RATES[1 if version == 3 else 2, layer]
    bits, hertz, padding = (
        rates[bit_rate - 1] * 1000,
        _MPEG_RATES[version][rate],
        (header[2] >> 1 & 1),
    )
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (72 if version != 3 and layer == 3 else 144) * bits // hertz + padding


def _xing(stream: BinaryIO, position: int) -> tuple[int, int, int]:
    """Read the Xing (Info) header in the frame at ``position``.

    Returns:
        The position, number of frames and of bytes from there on; 0 where not given.
    """
    frame = _read_at(stream, position, _XING_SEARCH)
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if place < 0:
        return position, 0, 0
    flags = int.from_bytes(frame[place + 4 : place + 8], "big")
    numbers = [int.from_bytes(frame[place + i : place + i + 4], "big") for i in (8, 12)]
    frames = numbers.pop(0) if flags & _XING_FRAMES else 0
    return position, frames, numbers[0] if flags & _XING_BYTES else 0
