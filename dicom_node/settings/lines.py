"""Where each key of a TOML text stands: its line, for messages that a person can follow."""

import tomllib
from bisect import bisect_right
from collections.abc import Mapping

KeyPath = tuple[str | int, ...]
"""A key from the top of the file: names of tables and keys, and the positions of array elements from 0."""

_BLANKS = " \t"
_SPACE = " \t\r\n"
_BARE_END = ",]}#\r\n"


def key_lines(text: str) -> dict[KeyPath, int]:
    """Map every table, key and array element of a TOML text to its line, the first line being 1.

    The text must be valid TOML 1.0 (``tomllib`` has accepted it): this reader only finds its way, it checks nothing.
    A table that is only implied by a longer header (``a`` in ``[a.b]``) stands at the first such header.
    """
    return _Reader(text).read()


def header_lines(text: str) -> dict[KeyPath, int]:
    """Map every table that has a header ``[a.b]`` of its own to its line, the first line being 1; the text as above."""
    reader = _Reader(text)
    reader.read()
    return reader.headers


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """Return the line of ``path`` or, when it is not in the file, of the nearest table around it; 1 for none."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return 1


def written_path(path: KeyPath) -> str:
    """Return a key as messages name it: its parts joined by dots, on one line whatever they hold."""
    return ".".join(step if isinstance(step, str) and step.isprintable() else repr(step) for step in path)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_starts = [0, *(at + 1 for at, char in enumerate(text) if char == "\n")]
        self._lines: dict[KeyPath, int] = {}
        self._array_sizes: dict[KeyPath, int] = {}
        self.headers: dict[KeyPath, int] = {}
        """The lines of ``[a.b]``, not of ``[[a.b]]``."""

    def read(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip_to_content():
            if self._peek("[["):
                table = self._header("[[", "]]")
            elif self._peek("["):
                table = self._header("[", "]")
            else:
                self._key_and_value(table)
        return self._lines

    def _peek(self, token: str) -> bool:
        return self._text.startswith(token, self._at)

    def _skip(self, characters: str) -> None:
        while self._at < len(self._text) and self._text[self._at] in characters:
            self._at += 1

    def _skip_to_content(self) -> bool:
        """Skip space, line ends and comments; tell whether anything is left."""
        while True:
            self._skip(_SPACE)
            if not self._peek("#"):
                return self._at < len(self._text)
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end

    def _note(self, path: KeyPath) -> None:
        """Give ``path`` and all that is implied by it the current line, where they have none yet."""
        line = bisect_right(self._line_starts, self._at)
        for end in range(1, len(path) + 1):
            self._lines.setdefault(path[:end], line)

    def _header(self, opening: str, closing: str) -> KeyPath:
        start = self._at
        self._at += len(opening)
        names = self._dotted_key()
        self._skip(_BLANKS)
        after = self._at + len(closing)
        path: KeyPath = ()
        for place, name in enumerate(names):
            path += (name,)
            if opening == "[[" and place == len(names) - 1:
                self._array_sizes[path] = self._array_sizes.get(path, 0) + 1
            if path in self._array_sizes:
                path += (self._array_sizes[path] - 1,)
        self._at = start
        self._note(path)
        if opening == "[":
            self.headers[path] = bisect_right(self._line_starts, start)
        self._at = after
        return path

    def _key_and_value(self, table: KeyPath) -> None:
        start = self._at
        names = self._dotted_key()
        self._skip(_BLANKS)
        after = self._at + 1  # the equals sign
        self._at = start
        path = (*table, *names)
        self._note(path)
        self._at = after
        self._value(path)

    def _dotted_key(self) -> list[str]:
        names = []
        while True:
            self._skip(_BLANKS)
            start = self._at
            if self._text[self._at] in "\"'":
                self._string()
                quoted = self._text[start : self._at]
                names.append(str(tomllib.loads(f"key = {quoted}")["key"]))
            else:
                while self._text[self._at].isalnum() or self._text[self._at] in "-_":
                    self._at += 1
                names.append(self._text[start : self._at])
            self._skip(_BLANKS)
            if not self._peek("."):
                return names
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        self._skip(_BLANKS)
        if self._text[self._at] in "\"'":
            self._string()
        elif self._peek("["):
            self._array(path)
        elif self._peek("{"):
            self._inline_table(path)
        else:
            while self._at < len(self._text) and self._text[self._at] not in _BARE_END:
                self._at += 1

    def _string(self) -> None:
        quote = self._text[self._at]
        fence = quote * 3 if self._peek(quote * 3) else quote
        self._at += len(fence)
        while not self._peek(fence):
            # In a basic string a backslash may hide a quote; in a literal string it is only itself.
            self._at += 2 if quote == '"' and self._text[self._at] == "\\" else 1
        self._at += len(fence)
        if len(fence) == 3:  # one or two more quotes may belong to the text, before the fence
            self._skip(quote)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        position = 0
        while self._skip_to_content() and not self._peek("]"):
            if self._peek(","):
                self._at += 1
                continue
            self._note((*path, position))
            self._value((*path, position))
            position += 1
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._skip_to_content() and not self._peek("}"):
            if self._peek(","):
                self._at += 1
                continue
            self._key_and_value(path)
        self._at += 1
