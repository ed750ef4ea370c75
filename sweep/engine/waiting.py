"""Long waits say what they wait for: a line now and then from a thread beside the work."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sweep.engine.board import PLAIN_EVERY_S, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def waiting(
    what: str, say: Callable[[str], None], *, every_s: float = PLAIN_EVERY_S
) -> Iterator[Callable[[str], None]]:
    """Say at once what is waited for, and again while it lasts: `starting Ray: 10 s`.

    Args:
        what: What is waited for.
        say: Shows a line; called from a thread, too.
        every_s: Between two lines.

    Yields:
        A function that takes how far the work is; the next line says it.
    """
    began, at = time.monotonic(), ""
    over = threading.Event()

    def tell(now: str) -> None:
        nonlocal at
        at = now or at

    def repeat() -> None:
        while not over.wait(every_s):
            told = f", {at}" if at else ""
            say(f"{what}: {duration(time.monotonic() - began)}{told}")

    say(what)
    thread = threading.Thread(target=repeat, name="sweep-waiting", daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        over.set()
        thread.join()
