"""Memory is used again from clip to clip, by one thread, and never twice in one clip."""

import threading

import numpy as np

from tempo.data.store import scratch


def test_without_a_clip_memory_is_new():
    a, b = scratch.empty((4, 5)), scratch.empty((4, 5))
    assert a.shape == (4, 5) and a.dtype == np.uint8 and not np.shares_memory(a, b)


def test_a_clip_gets_the_memory_of_the_one_before():
    memory = scratch.Memory()
    for _ in range(2):  # the first finds out how much is needed
        with memory.clip():
            first = [scratch.empty((100, 3)), scratch.empty((7,)), scratch.empty((0,))]
    with memory.clip():
        second = [scratch.empty((100, 3)), scratch.empty((7,))]
        assert np.shares_memory(first[0], second[0]) and np.shares_memory(first[1], second[1])
        assert not np.shares_memory(*second)
        extra = scratch.empty((10_000,))  # more than there is
        assert not any(np.shares_memory(extra, array) for array in second)
    assert not np.shares_memory(scratch.empty((7,)), second[1])


def test_threads_share_none():
    memory, found = scratch.Memory(), {}
    meet = threading.Barrier(2)

    def run(name):
        for _ in range(2):
            with memory.clip():
                found[name] = scratch.empty((1000,))
                meet.wait(10)

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not np.shares_memory(found["a"], found["b"])


def test_there_is_an_end_to_what_is_kept(monkeypatch):
    monkeypatch.setattr(scratch, "_MAX_BYTES", 1000)
    memory = scratch.Memory()
    for _ in range(3):
        with memory.clip():
            assert scratch.empty((5000,)).shape == (5000,)
    assert len(memory._block) <= 1000
