"""Block devices that write down every write and flush they are asked for, so that the power can be cut at any of them.

``python power_device.py JOURNAL IMAGE MOUNT [IMAGE MOUNT ...]``, as root: each MOUNT, an empty file, becomes the image
by way of FUSE, to be used through a loop device, and every request that reached any of them is appended to JOURNAL,
in its order and before it is answered. Ends when all are unmounted. Imports nothing but the standard library.

The journal is one sequence of records: ``RECORD`` (kind, number of the image, length, offset), then the bytes written.
"""

import ctypes
import errno
import os
import select
import struct
import sys

RECORD = struct.Struct("<BBxxIQ")
WRITE, FLUSH = 1, 2

# From linux/fuse.h, protocol 7.31.
_IN = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
_RANGE = struct.Struct("<QQI")  # of FUSE_READ and FUSE_WRITE: handle, offset, size
_WRITE_HEAD = _IN.size + 40
_ATTR = struct.Struct("<QII6Q10I")
_LARGEST = 1 << 20
_GETATTR, _OPEN, _READ, _WRITE_, _RELEASE, _FSYNC, _FLUSH_, _INIT, _DESTROY = 3, 14, 15, 16, 18, 20, 25, 26, 38
_UNANSWERED = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22
_DIRECT_IO = 1  # FOPEN_DIRECT_IO: nothing is kept in the page cache of this file system


class Device:
    """One image, served as a file."""

    def __init__(self, number: int, image: str, mount: str, journal: int) -> None:
        self.number = number
        self.image = os.open(image, os.O_RDWR)
        self.size = os.fstat(self.image).st_size
        self.journal = journal
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        self._buffer = bytearray(_LARGEST + 4096)
        options = f"fd={self.fuse},rootmode=100600,user_id=0,group_id=0,max_read={_LARGEST}"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"power", mount.encode(), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), f"cannot mount on {mount}")

    def serve_one(self) -> bool:
        """Answer one request; return False when the mount is gone."""
        try:
            length = os.readv(self.fuse, [self._buffer])
        except InterruptedError:
            return True
        except OSError as error:
            return error.errno == errno.ENOENT  # the request was taken back; ENODEV: unmounted
        _, operation, unique, *_ = _IN.unpack_from(self._buffer)
        if operation in _UNANSWERED:
            return True
        try:
            answer, error = self._answer(operation, memoryview(self._buffer)[:length]), 0
        except OSError as failed:
            answer, error = b"", -int(failed.errno or errno.EIO)
        os.writev(self.fuse, [_OUT.pack(_OUT.size + len(answer), error, unique), answer])
        return operation != _DESTROY

    def _answer(self, operation: int, request: memoryview) -> bytes:
        if operation == _WRITE_:
            _, offset, size = _RANGE.unpack_from(request, _IN.size)
            data = request[_WRITE_HEAD : _WRITE_HEAD + size]
            os.pwrite(self.image, data, offset)
            os.writev(self.journal, [RECORD.pack(WRITE, self.number, size, offset), data])
            return struct.pack("<II", size, 0)
        if operation == _READ:
            _, offset, size = _RANGE.unpack_from(request, _IN.size)
            return os.pread(self.image, size, offset)
        if operation == _FSYNC:
            os.write(self.journal, RECORD.pack(FLUSH, self.number, 0, 0))
            return b""
        if operation == _GETATTR:
            blocks = self.size // 512
            return _ATTR.pack(60, 0, 0, 1, self.size, blocks, 0, 0, 0, 0, 0, 0, 0o100600, 1, 0, 0, 0, 4096, 0)
        if operation == _OPEN:
            return struct.pack("<QII", 0, _DIRECT_IO, 0)
        if operation == _INIT:
            _, _, read_ahead, flags = struct.unpack_from("<4I", request, _IN.size)
            flags &= _BIG_WRITES | _MAX_PAGES
            return struct.pack(
                "<4IHHIIHHI7I", 7, 31, read_ahead, flags, 0, 0, _LARGEST, 1, _LARGEST // 4096, 0, *[0] * 8
            )
        if operation in (_RELEASE, _FLUSH_, _DESTROY):
            return b""
        raise OSError(errno.ENOSYS, "not needed")


def main(journal: str, *pairs: str) -> None:
    """Serve until all are unmounted; a line on standard output tells that they are mounted."""
    log = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    devices = {}
    poll = select.poll()
    for number, (image, mount) in enumerate(zip(pairs[::2], pairs[1::2], strict=True)):
        device = Device(number, image, mount, log)
        devices[device.fuse] = device
        poll.register(device.fuse, select.POLLIN)
    print("ready", flush=True)
    while devices:
        for fd, _ in poll.poll():
            if not devices[fd].serve_one():
                poll.unregister(fd)
                del devices[fd]


if __name__ == "__main__":
    main(*sys.argv[1:])
