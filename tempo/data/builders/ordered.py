"""A function over many items, on threads: results in order, and few of them in memory."""

import collections
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

MAX_BYTES = 1 << 30


class _Window:
    """The sizes of results that wait for their turn, and whose turn it is."""

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._sizes: dict[int, int] = {}
        self._turn = 0
        self._is_closed = False

    def enter(self, number: int) -> None:
        """Waits until item `number` may begin: there is room, or all wait for this one."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._may_begin(number))
            if self._is_closed:
                raise futures.CancelledError

    def _may_begin(self, number: int) -> bool:
        return number == self._turn or sum(self._sizes.values()) < self._max_bytes

    def hold(self, number: int, size: int) -> None:
        """Result `number` waits for its turn."""
        with self._changed:
            self._sizes[number] = size

    def advance(self) -> None:
        """The result whose turn it was has been taken."""
        with self._changed:
            self._sizes.pop(self._turn, None)
            self._turn += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing begins any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


def map_in_order(
    pool: futures.Executor,
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    window: int,
    size_of: Callable[[Any], int],
    max_bytes: int = MAX_BYTES,
) -> Iterator[Any]:
    """`map(function, items)` on a pool of threads; close it, or go to its end.

    Args:
      pool: its threads start items in order.
      function: of one item.
      items: any number of them.
      window: at most this many items are ahead of the consumer.
      size_of: bytes of a result.
      max_bytes: while more than this wait for their turn, no item begins but the one whose turn it
        is. What threads are at is not known yet: each may add one result.
    """
    held = _Window(max_bytes)

    def work(number: int, item: Any) -> Any:
        held.enter(number)
        result = function(item)
        held.hold(number, size_of(result))
        return result

    waiting = collections.deque()
    try:
        for number, item in enumerate(items):
            waiting.append(pool.submit(work, number, item))
            if len(waiting) >= window:
                yield _taken(waiting, held)
        while waiting:
            yield _taken(waiting, held)
    finally:
        held.close()


def _taken(waiting: collections.deque, held: _Window) -> Any:
    result = waiting.popleft().result()
    held.advance()
    return result
