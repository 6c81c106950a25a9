"""The byte-bounded cache."""

import threading

import pytest

from demo.cache import ByteCache


def test_the_value_used_longest_ago_makes_room():
    cache = ByteCache(10)
    cache.put("a", 1, size=4)
    cache.put("b", 2, size=4)
    cache.get("a")
    cache.put("c", 3, size=4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


def test_the_bound_is_in_bytes_not_in_entries():
    cache = ByteCache(100)
    for number in range(1000):
        cache.put(str(number), number, size=7)
        assert cache.bytes_used <= 100
    assert len(cache) == 14


def test_a_value_larger_than_the_cache_is_not_kept_and_evicts_nothing():
    cache = ByteCache(10)
    cache.put("small", 1, size=5)
    cache.put("huge", 2, size=11)
    assert (cache.get("small"), cache.get("huge")) == (1, None)


def test_replacing_a_value_replaces_its_size():
    cache = ByteCache(10)
    cache.put("a", 1, size=9)
    cache.put("a", 2, size=3)
    assert (cache.get("a"), cache.bytes_used, len(cache)) == (2, 3, 1)


def test_threads_leave_the_count_right():
    cache = ByteCache(1000)

    def work(name: int) -> None:
        for number in range(500):
            cache.put(f"{name}-{number % 40}", number, size=13)
            cache.get(f"{name}-{number % 17}")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.bytes_used == 13 * len(cache) <= 1000


def test_a_cache_of_no_bytes_is_refused():
    with pytest.raises(ValueError, match="0"):
        ByteCache(0)
