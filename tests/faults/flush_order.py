"""From the system calls of a node: could what it acknowledged be lost, had the power failed at any of them?

A model of what POSIX promises and no more: the bytes of a file survive once it was flushed after they were written, a
name once its folder was flushed after it was made. A removal may reach the disk at once, as may bytes not flushed yet;
a rename is one step. File systems promise more, so a power cut on one of them need not show what is wrong here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "openat,open,creat,close,dup,dup2,dup3,fcntl,lseek,write,writev,pwrite64,pwritev,pwritev2,ftruncate,fsync,fdatasync,syncfs,"
    "link,linkat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,sendto,sendmsg,fork,vfork,clone,clone3,execve"
)
_LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)")
_UNFINISHED = " <unfinished ...>"
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_SUCCESS = (b"\0\0\0\x01\x02\0\0\0\x01\x80", b"\0\0\0\x09\x02\0\0\0\0\0")  # of a C-STORE-RSP: (0000,0100), (0000,0900)


def traced(trace: Path) -> list[str]:
    """Return the start of a command line that writes the system calls of the rest of it to ``trace``."""
    return ["strace", "-D", "-f", "--seccomp-bpf", "-xx", "-s", "100000000", "-o", str(trace), "-e", f"trace={CALLS}"]


@dataclass(eq=False)
class _File:
    """A file or a folder: what it holds now, and what of it was flushed."""

    data: bytearray = field(default_factory=bytearray)
    flushed: bytes = b""
    names: dict[str, "_File"] = field(default_factory=dict)
    flushed_names: dict[str, "_File"] = field(default_factory=dict)
    flushed_by: int = 0
    """The line of the trace in which the latest flush of it that ended had begun: flushes overlap."""

    def everything(self) -> Iterator["_File"]:
        """Yield itself and whatever has a name below it now."""
        yield self
        for file in self.names.values():
            yield from file.everything()

    def surviving(self) -> Iterator["_File"]:
        """Yield every file that surely has a name after a power cut."""
        yield self
        for name, file in self.flushed_names.items():
            if self.names.get(name) is file:
                yield from file.surviving()


@dataclass
class _Handle:
    file: _File
    at: int = 0
    appends: bool = False


class FlushOrder:
    """Reads a trace and keeps account of the files below ``root``, which was there and empty before it."""

    def __init__(self, root: Path, sent: Mapping[str, bytes]) -> None:
        """``sent`` are the data sets by SOP Instance UID."""
        self.successes = 0
        self.broken: list[str] = []
        """What was acknowledged and could be lost, and by which line of the trace that came about."""
        self._prefix = f"{root}/"
        self._root = _File()
        self._sent = sent
        self._promised: set[str] = set()
        self._handles: dict[int, _Handle] = {}
        """Those of the process whose call is looked at."""
        self._tables: dict[str, dict[int, _Handle]] = {}
        self._children: dict[str, dict[int, _Handle]] = {}
        """By the process that begins one: the handles that its child, not seen yet, will have."""
        self._flushing: dict[str, list[tuple[int, _File, bytes, dict[str, _File]]]] = {}
        self._begun: dict[str, str] = {}

    def read(self, trace: Path) -> None:
        """Follow a trace to its end."""
        with trace.open(encoding="ascii") as lines:
            for number, line in enumerate(lines, start=1):
                if not (parts := _LINE.match(line)):
                    continue  # signals and exits
                process, resumed, call, rest = parts.groups()
                self._handles = self._table(process)
                if call:
                    self._begin(process, call, rest, number)
                    if rest.endswith(_UNFINISHED):
                        self._begun[process] = rest.removesuffix(_UNFINISHED)
                        continue
                else:
                    call, rest = resumed, self._begun.pop(process) + rest
                if (result := re.search(r"\) += (-?\d+)", rest)) and int(result[1]) >= 0:
                    self._end(process, call, rest[: result.start()], int(result[1]))
                    if call in {"unlink", "unlinkat", "rename", "renameat", "renameat2", "rmdir", "ftruncate"}:
                        self._check(number)

    def _begin(self, process: str, call: str, arguments: str, number: int) -> None:
        """Take account of what counts from its beginning: answers, flushes, handles given up."""
        if call == "close":
            self._handles.pop(int(arguments.split(")", maxsplit=1)[0].split(maxsplit=1)[0]), None)
        elif call in {"fsync", "fdatasync", "syncfs"}:
            handle = self._handles.get(int(re.split(r"\D", arguments)[0]))
            if handle:
                files = set(self._root.everything()) if call == "syncfs" else {handle.file}
                self._flushing[process] = [(number, file, bytes(file.data), dict(file.names)) for file in files]
        elif call in {"sendto", "sendmsg", "write", "writev"}:
            data = b"".join(_texts(arguments))
            if int(re.split(r"\D", arguments)[0]) not in self._handles and all(part in data for part in _SUCCESS):
                (uid,) = (uid for uid in self._sent if uid.encode() in data)
                self.successes += 1
                self._promised.add(uid)
                self._check(number)
        elif call in {"fork", "vfork", "clone", "clone3"}:
            self._children[process] = self._handles if "CLONE_FILES" in arguments else dict(self._handles)

    def _table(self, process: str) -> dict[int, _Handle]:
        """Return the handles of a process; a child may be seen before the call that made it has ended."""
        if process not in self._tables:
            parent = next(iter(self._children), "")
            self._tables[process] = self._children.pop(parent, {})
        return self._tables[process]

    def _end(self, process: str, call: str, arguments: str, result: int) -> None:
        """Take account of a call that succeeded."""
        numbers = [int(number) for number in re.findall(r"(?<![\w\\])\d+(?!\w)", _TEXT.sub("", arguments))]
        texts = _texts(arguments)
        if call in {"fsync", "fdatasync", "syncfs"}:
            for number, file, data, names in self._flushing.pop(process, ()):
                if number > file.flushed_by:
                    file.flushed, file.flushed_names, file.flushed_by = data, names, number
        elif call in {"fork", "vfork", "clone", "clone3"}:
            if str(result) not in self._tables:
                self._tables[str(result)] = self._children.pop(process)
        elif call == "execve":
            self._tables[process] = {}  # of the archive's files, none outlives it
        elif call in {"open", "openat", "creat"}:
            self._open(arguments, texts[0].decode(), result)
        elif call in {"dup", "dup2", "dup3"} or (call == "fcntl" and "F_DUPFD" in arguments):
            if numbers[0] in self._handles:
                self._handles[result] = self._handles[numbers[0]]
        elif call in {"lseek", "ftruncate", "write", "writev", "pwrite64", "pwritev", "pwritev2"}:
            if handle := self._handles.get(numbers[0]):
                _change(handle, call, b"".join(texts)[:result], numbers[-2 if call == "pwritev2" else -1], result)
        elif call in {"mkdir", "mkdirat"}:
            if place := self._place(arguments, texts[0].decode()):
                place[0].names[place[1]] = _File()
        elif call in {"unlink", "unlinkat", "rmdir"}:
            if place := self._place(arguments, texts[0].decode()):
                del place[0].names[place[1]]
        elif call in {"link", "linkat", "rename", "renameat", "renameat2"}:
            self._name(call, arguments, [text.decode() for text in texts])

    def _open(self, arguments: str, path: str, result: int) -> None:
        if path + "/" == self._prefix:
            self._handles[result] = _Handle(self._root)
        elif place := self._place(arguments, path):
            folder, name = place
            file = _File() if "O_TMPFILE" in arguments else folder.names.get(name)
            if name == ".":
                file = folder
            if file is None:
                file = folder.names[name] = _File()
            if "O_TRUNC" in arguments:
                file.data.clear()
            self._handles[result] = _Handle(file, appends="O_APPEND" in arguments)

    def _name(self, call: str, arguments: str, paths: list[str]) -> None:
        first, second = arguments.split('"')[0::2][:2]
        source = self._place(first, paths[0])
        target = self._place(second.strip(", "), paths[1])
        if target is None:
            return
        if source is not None:
            file = source[0].names[source[1]]
        else:  # a file without a name, by way of its handle
            file = self._handles[int(paths[0].rpartition("/")[2])].file
        target[0].names[target[1]] = file
        if source is not None and call.startswith("rename"):
            del source[0].names[source[1]]
            if source[0].flushed_names.get(source[1]) is file:
                target[0].flushed_names[target[1]] = file

    def _place(self, arguments: str, path: str) -> tuple[_File, str] | None:
        """Return folder and name that a path stands for; None of one that is elsewhere."""
        if path.startswith("/"):
            if not path.startswith(self._prefix):
                return None
            folder, path = self._root, path.removeprefix(self._prefix)
        else:
            number = re.match(r"\d+", arguments)
            handle = self._handles.get(int(number[0])) if number else None
            if handle is None:
                return None
            folder = handle.file
        *folders, name = path.split("/")
        for each in folders:
            folder = folder.names[each]
        return folder, name

    def _check(self, number: int) -> None:
        """See that whatever is acknowledged would survive, were the power cut now."""
        surviving = list(self._root.surviving())
        for uid in sorted(self._promised):
            data = self._sent[uid]
            if not any(data in file.flushed and data in file.data for file in surviving):
                self._promised.discard(uid)
                self.broken.append(f"{uid}, by line {number}")


def _texts(arguments: str) -> list[bytes]:
    found = list(_TEXT.finditer(arguments))
    assert not any(text[2] for text in found), "the trace is cut short"
    return [bytes.fromhex(text[1].replace("\\x", "")) for text in found]


def _change(handle: _Handle, call: str, data: bytes, last: int, result: int) -> None:
    """Move the handle or change its file; ``last`` is its new length, or where to write if the call says so."""
    file = handle.file
    if call == "lseek":
        handle.at = result
        return
    if call == "ftruncate":
        del file.data[last:]
        file.data.extend(bytes(last - len(file.data)))
        return
    if call in {"pwrite64", "pwritev", "pwritev2"}:
        at = last
    else:
        at = len(file.data) if handle.appends else handle.at
        handle.at = at + len(data)
    file.data.extend(bytes(max(0, at - len(file.data))))
    file.data[at : at + len(data)] = data
