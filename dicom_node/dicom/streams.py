"""Bytes of a data set, read forward: from a part of a file, or inflated from it within limits."""

import zlib
from typing import BinaryIO

_CHUNK = 64 * 1024

MOST_INFLATED = 16 * 1024 * 1024
"""Bytes of a deflated data set that are looked at; a header fits many times over."""

HIGHEST_RATIO = 200
"""Inflated bytes looked at for each deflated one. Text deflates to a tenth, what goes far beyond is made to harm."""


class InflationLimitError(Exception):
    """A deflated data set goes on beyond what is looked at. Stays inside this room."""


class FileRange:
    """``length`` bytes of a seekable file from ``start`` on. Skipping reads nothing."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self.position = 0
        """Bytes read or skipped so far."""
        self._file = file
        self._start = start
        self._length = length
        self._buffer = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer at the end."""
        end = self._at + size
        if end > len(self._buffer):
            size = min(size, self._length - self.position)
            self._file.seek(self._start + self.position)
            self._buffer = self._file.read(min(max(size, _CHUNK), self._length - self.position))
            self._at, end = 0, size
        value = self._buffer[self._at : end]
        self._at = end
        self.position += len(value)
        return value

    def skip(self, size: int) -> bool:
        """Pass over ``size`` bytes; False when there are fewer."""
        self._at += size
        self.position += size
        if self._at > len(self._buffer):
            self._buffer, self._at = b"", 0
        return self.position <= self._length


class Inflated:
    """A raw deflate stream (RFC 1951, PS3.5 A.5), inflated as it is read and no further than the limits."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self.position = 0
        """Inflated bytes read or skipped so far."""
        self._source = FileRange(file, start, length)
        self._inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        self._buffer = b""
        self._at = 0
        self._left = min(MOST_INFLATED, HIGHEST_RATIO * length)

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer at the end. Raises InflationLimitError, zlib.error."""
        while len(self._buffer) - self._at < size and self._inflate_more():
            pass
        value = self._buffer[self._at : self._at + size]
        self._at += len(value)
        self.position += len(value)
        return value

    def skip(self, size: int) -> bool:
        """Pass over ``size`` bytes; False when there are fewer. Raises InflationLimitError, zlib.error."""
        while size > 0:
            passed = len(self.read(min(size, _CHUNK)))
            if not passed:
                return False
            size -= passed
        return True

    @property
    def is_complete(self) -> bool:
        """Tell whether the end of the deflate stream was reached."""
        return self._inflater.eof

    def _inflate_more(self) -> bool:
        """Inflate another piece into the buffer; False at the end."""
        if self._inflater.eof:
            return False
        if self._left == 0:
            raise InflationLimitError
        deflated = self._inflater.unconsumed_tail or self._source.read(_CHUNK)
        piece = self._inflater.decompress(deflated, min(_CHUNK, self._left))
        self._left -= len(piece)
        self._buffer = self._buffer[self._at :] + piece
        self._at = 0
        return bool(piece or deflated)
