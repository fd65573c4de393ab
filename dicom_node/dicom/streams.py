"""Bytes of a data set, looked at in windows that move forward: from a part of a file, or inflated within limits.

A window is a piece of the data set in memory; what a reader passes over between two windows is not read.
"""

import os
import zlib
from collections.abc import Callable
from typing import BinaryIO

ReadAt = Callable[[int, int], bytes]
"""Returns the bytes of a data set from an offset on, as many as asked for; fewer at the end."""

_CHUNK = 16 * 1024  # a header seldom has more

MOST_INFLATED = 16 * 1024 * 1024
"""Bytes of a deflated data set that are looked at; a header fits many times over."""

HIGHEST_RATIO = 200
"""Inflated bytes looked at for each deflated one. Text deflates to a tenth, what goes far beyond is made to harm."""


class InflationLimitError(Exception):
    """A deflated data set goes on beyond what is looked at. Stays inside this room."""


def file_part(file: BinaryIO, start: int) -> ReadAt:
    """Return how to read a data set that begins at offset ``start`` of a seekable file."""

    def read_at(offset: int, size: int) -> bytes:
        file.seek(start + offset, os.SEEK_SET)
        return file.read(size)

    return read_at


class Plain:
    """A data set of ``length`` bytes as it is stored; its beginning may be in memory already."""

    def __init__(self, head: bytes, length: int, read_at: ReadAt) -> None:
        self._window = head[:length]
        self._start = 0
        self._length = length
        self._read_at = read_at

    def window(self, position: int, size: int) -> tuple[bytes, int]:
        """Return a window and where it begins: it holds ``size`` bytes from ``position`` on, fewer at the end."""
        if position + size > self._start + len(self._window):
            left = max(0, self._length - position)
            self._window = self._read_at(position, min(max(size, _CHUNK), left)) if left else b""
            self._start = position
        return self._window, self._start

    def reaches(self, position: int) -> bool:
        """Tell whether there are as many bytes."""
        return position <= self._length

    def ends_at(self, position: int) -> bool:
        """Tell whether there are just as many bytes."""
        return position == self._length


class Inflated:
    """A raw deflate stream (RFC 1951, PS3.5 A.5), inflated as it is looked at and no further than the limits.

    Positions never go back.
    """

    def __init__(self, head: bytes, length: int, read_at: ReadAt) -> None:
        self._source = Plain(head, length, read_at)
        self._taken = 0
        self._inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        self._window = b""
        self._start = 0
        self._left = min(MOST_INFLATED, HIGHEST_RATIO * length)

    def window(self, position: int, size: int) -> tuple[bytes, int]:
        """Return a window as ``Plain`` does. Raises InflationLimitError, zlib.error."""
        if position + size > self.size and self.reaches(position):
            self._window, self._start = self._window[position - self._start :], position
            while position + size > self.size and self._inflate_more():
                pass
        return self._window, self._start

    def reaches(self, position: int) -> bool:
        """Tell whether there are as many bytes. Raises InflationLimitError, zlib.error."""
        while position > self.size:
            self._start = self.size
            self._window = b""
            if not self._inflate_more():
                return False
        return True

    def ends_at(self, position: int) -> bool:
        """Tell whether there are just as many bytes, once the window at ``position`` was asked for."""
        return position == self.size

    @property
    def size(self) -> int:
        """Bytes inflated so far."""
        return self._start + len(self._window)

    @property
    def is_complete(self) -> bool:
        """Tell whether the end of the deflate stream was reached."""
        return self._inflater.eof

    def _inflate_more(self) -> bool:
        """Inflate another piece into the window; False at the end."""
        if self._inflater.eof:
            return False
        if self._left == 0:
            raise InflationLimitError(f"checked up to {self.size} inflated bytes")
        deflated = self._inflater.unconsumed_tail or self._more_deflated()
        piece = self._inflater.decompress(deflated, min(_CHUNK, self._left))
        self._left -= len(piece)
        self._window += piece
        return bool(piece or deflated)

    def _more_deflated(self) -> bytes:
        window, start = self._source.window(self._taken, 1)
        deflated = window[self._taken - start :]
        self._taken += len(deflated)
        return deflated
