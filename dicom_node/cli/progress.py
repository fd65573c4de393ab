"""Progress of what takes long, on a terminal alone."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


def has_terminal() -> bool:
    """Tell whether somebody watches."""
    return sys.stderr.isatty()


@contextmanager
def progress(total: int, label: str) -> Iterator[Callable[..., None]]:
    """Show a progress bar on a terminal; yield what moves it one step, told the ``total`` where it is known later."""
    if not has_terminal():
        yield lambda _total=0: None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr, show_pos=True) as bar:

        def step(known_total: int = 0) -> None:
            bar.length = known_total or bar.length
            bar.update(1)

        yield step
