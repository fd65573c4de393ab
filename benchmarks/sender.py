"""Sends a batch by C-STORE, one process an association, everything encoded before the clock starts."""

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

from benchmarks import wire
from benchmarks.workloads import Batch

_FORK = multiprocessing.get_context("fork")  # the encoded messages are shared, not copied


@dataclass(slots=True)
class Sent:
    """What one send measured. Times in seconds."""

    wall: float = 0.0
    """From the first association request to the last release."""
    cpu: float = 0.0
    """Processor time of the sending processes in that time."""
    latencies: list[float] = field(default_factory=list)
    """Of each instance, from its first byte to its response."""
    failures: list[str] = field(default_factory=list)
    """What went wrong, in words; a run with any is not counted."""


@dataclass(frozen=True, slots=True)
class Messages:
    """A batch as it goes over the wire: a beginning for each instance, and the same rest for all."""

    contexts: dict[int, tuple[str, str]]
    beginnings: Sequence[bytearray]
    rest: bytearray


def encode_messages(batch: Batch, longest: int) -> Messages:
    """Encode a batch as P-DATA-TF units with bodies of at most ``longest`` bytes."""
    room = longest - 6 - len(batch.instances[0].header)
    beginnings = []
    for number, instance in enumerate(batch.instances):
        request = wire.store_command(batch.workload.sop_class_uid, instance.sop_instance_uid, number % 65535 + 1)
        beginnings.append(
            wire.data_units(1, request, is_command=True, longest=longest)
            + wire.data_units(
                1,
                instance.header + batch.pixels[:room],
                is_command=False,
                longest=longest,
                last=len(batch.pixels) <= room,
            )
        )
    rest = memoryview(batch.pixels)[room:]
    return Messages(
        contexts={1: (batch.workload.sop_class_uid, wire.EXPLICIT)},
        beginnings=beginnings,
        rest=wire.data_units(1, rest, is_command=False, longest=longest) if rest else bytearray(),
    )


def longest_unit(port: int, sop_class_uid: str) -> int:
    """Ask a receiver for the longest P-DATA-TF body it takes, in bytes."""
    with wire.Association(port, {1: (sop_class_uid, wire.EXPLICIT)}) as assoc:
        assoc.release()
        return assoc.longest


def send(port: int, messages: Messages, associations: int) -> Sent:
    """Send all messages, dealt out over ``associations`` at once."""
    go = _FORK.Event()
    pipes, processes = [], []
    for number in range(associations):
        ours, theirs = _FORK.Pipe(duplex=False)
        share = range(number, len(messages.beginnings), associations)
        process = _FORK.Process(target=_send_share, args=(port, messages, share, go, theirs), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    go.set()
    sent = Sent()
    began, ended = [], []
    for pipe, process in zip(pipes, processes, strict=True):
        try:
            start, end, cpu, latencies, failures = pipe.recv()
        except EOFError:
            sent.failures.append("a sender died")
        else:
            began.append(start)
            ended.append(end)
            sent.cpu += cpu
            sent.latencies += latencies
            sent.failures += failures
        process.join()
    if began:
        sent.wall = max(ended) - min(began)
    if len(sent.latencies) != len(messages.beginnings) and not sent.failures:
        sent.failures.append(f"{len(sent.latencies)} of {len(messages.beginnings)} were answered")
    return sent


def _send_share(port: int, messages: Messages, share: range, go: Event, result: Connection) -> None:
    latencies, failures = [], []
    clock = time.perf_counter  # one clock for all processes of the machine
    go.wait()
    began, cpu = clock(), time.process_time()
    try:
        with wire.Association(port, messages.contexts) as assoc:
            for number in share:
                start = clock()
                assoc.socket.sendall(messages.beginnings[number])
                if messages.rest:
                    assoc.socket.sendall(messages.rest)
                status, _ = next(assoc.responses())
                latencies.append(clock() - start)
                if status:
                    failures.append(f"status {status:04X}")
            assoc.release()
    except (OSError, ConnectionError) as error:
        failures.append(str(error) or type(error).__name__)
    result.send((began, clock(), time.process_time() - cpu, latencies, failures))
