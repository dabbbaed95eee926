"""The fake store's client answers as redis-py does with a real Valkey: every command and every script that the store
uses, with the cases that it relies on, and sequences at random. Everything here runs on both, and is compared."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import redis

from pipeline.store import audit_log, connection, events, leases, metrics, outbox
from tests.support.fake_store import client as fake_store
from tests.support.fake_store.client import Commands, FakeClient, FakePipeline
from tests.support.fake_store.data import Data
from tests.support.fake_store.scripts import TWINS, twin
from tests.support.valkey import running
from tests.support.waiting import until

Step = Callable[[Any], Any]
LARGE = 2**63 - 1


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    with running() as url:
        yield url


class Both:
    """An empty server of each kind."""

    def __init__(self, valkey: str) -> None:
        self._urls = {"real": valkey, "fake": f"{fake_store.SCHEME}{secrets.token_hex(4)}"}
        self._opened: list[Any] = []
        self.clients()[0].flushdb()

    def clients(self) -> tuple[Any, Any]:
        """Another client of each."""
        made = fake_store.connect(self._urls["real"]), fake_store.connect(self._urls["fake"])
        self._opened += made
        return made

    def close(self) -> None:
        for one in self._opened:
            one.close()
        fake_store.end(self._urls["fake"])


@pytest.fixture
def both(valkey: str) -> Iterator[Both]:
    made = Both(valkey)
    yield made
    made.close()


def answer(step: Step, client: Any) -> Any:
    """What it returned or raised, so that it can be compared. What a set or a list of keys returns has no order."""
    try:
        found = step(client)
    except (redis.RedisError, UnicodeEncodeError) as error:
        return error_of(error)
    if isinstance(found, list):
        return [error_of(one) if isinstance(one, Exception) else one for one in found]
    return "the pipeline" if isinstance(found, redis.client.Pipeline | FakePipeline) else (type(found), found)


def error_of(error: Exception) -> tuple[type[Exception], bool]:
    return type(error), "WRONGTYPE" in str(error)


def same(both: Both, *steps: Step) -> list[Any]:
    """Each step's answer, which has to be the same on both."""
    real, fake = both.clients()
    found = [answer(step, real) for step in steps]
    assert [answer(step, fake) for step in steps] == found
    return found


OF_EACH_KIND: tuple[Step, ...] = (
    lambda c: c.set("string", "x"),
    lambda c: c.set("number", 41),
    lambda c: c.hset("hash", mapping={"a": "1", "b": 2.5, "c": "x"}),
    lambda c: c.sadd("set", "1", 2),
    lambda c: c.rpush("list", "a", "b", "a", "c"),
    lambda c: c.xadd("stream", {"e": "1"}, id="5-1"),
)
KEYS = ("string", "number", "hash", "set", "list", "stream", "none")

# Each is asked of a key of each kind, and of one that is not there.
ASKED: dict[str, Callable[[Any, str], Any]] = {
    "type": lambda c, key: c.type(key),
    "exists": lambda c, key: c.exists(key),
    "exists several": lambda c, key: c.exists(key, "string", key, "none"),
    "delete": lambda c, key: c.delete(key),
    "delete several": lambda c, key: c.delete(key, "string", key),
    "expire": lambda c, key: c.expire(key, 100),
    "expire now": lambda c, key: c.expire(key, 0),
    "pexpire": lambda c, key: c.pexpire(key, 100_000),
    "ttl": lambda c, key: c.ttl(key),
    "pttl": lambda c, key: c.pttl(key),
    "get": lambda c, key: c.get(key),
    "mget": lambda c, key: c.mget([key, "string"]),
    "mget one by one": lambda c, key: c.mget(key, "string"),
    "set": lambda c, key: c.set(key, "y"),
    "set new": lambda c, key: c.set(key, "y", nx=True),
    "incrby": lambda c, key: c.incrby(key, 1),
    "incrby down": lambda c, key: c.incrby(key, -50),
    "incrby too far": lambda c, key: c.incrby(key, LARGE),
    "hget": lambda c, key: c.hget(key, "a"),
    "hget nothing": lambda c, key: c.hget(key, "z"),
    "hmget": lambda c, key: c.hmget(key, ["a", "z"]),
    "hmget one by one": lambda c, key: c.hmget(key, "a", "z"),
    "hgetall": lambda c, key: c.hgetall(key),
    "hkeys": lambda c, key: c.hkeys(key),
    "hset": lambda c, key: c.hset(key, "a", "2"),
    "hset mapping": lambda c, key: c.hset(key, mapping={"a": 3, "d": ""}),
    "hset both": lambda c, key: c.hset(key, "a", "2", mapping={"d": 1}),
    "hdel": lambda c, key: c.hdel(key, "a", "z"),
    "hdel all": lambda c, key: c.hdel(key, "a", "b", "c"),
    "hincrby": lambda c, key: c.hincrby(key, "a", 2),
    "hincrby no number": lambda c, key: c.hincrby(key, "c", 2),
    "hincrby a fraction": lambda c, key: c.hincrby(key, "b", 2),
    "hincrby too far": lambda c, key: c.hincrby(key, "a", LARGE),
    "smembers": lambda c, key: c.smembers(key),
    "scard": lambda c, key: c.scard(key),
    "sadd": lambda c, key: c.sadd(key, "1", 3),
    "srem": lambda c, key: c.srem(key, "1", "z"),
    "srem all": lambda c, key: c.srem(key, 1, 2),
    "llen": lambda c, key: c.llen(key),
    "rpush": lambda c, key: c.rpush(key, "y", 1),
    "lpush": lambda c, key: c.lpush(key, "y", "z"),
    "rpop": lambda c, key: c.rpop(key),
    "xadd": lambda c, key: c.xadd(key, {"e": "1"}, id="7-0"),
    "xadd an older one": lambda c, key: c.xadd(key, {"e": "1"}, id="5-1"),
    "xadd no id": lambda c, key: c.xadd(key, {"e": "1"}, id="x"),
    "xrange": lambda c, key: c.xrange(key),
    "xread": lambda c, key: c.xread({key: "0"}, count=5),
    "xread after": lambda c, key: c.xread({key: "5-1"}),
    "xread half an id": lambda c, key: c.xread({key: "5"}),
    "xread the highest id": lambda c, key: c.xread({key: f"{2**64 - 1}-{2**64 - 1}"}),
    "xread no id": lambda c, key: c.xread({key: f"{2**64}"}),
    "xread waiting": lambda c, key: c.xread({key: "5-1"}, count=5, block=1),
    **{f"lindex {i}": lambda c, key, i=i: c.lindex(key, i) for i in (0, -1, 3, 4, -4, -5)},
    **{f"lset {i}": lambda c, key, i=i: c.lset(key, i, "y") for i in (0, -1, 3, 4, -4, -5)},
    **{f"lrem {n}": lambda c, key, n=n: c.lrem(key, n, "a") for n in (0, 1, 2, 9)},
    **{
        f"{name} {first} {last}": lambda c, key, name=name, first=first, last=last: getattr(c, name)(
            key, first, last
        )
        for name in ("lrange", "ltrim")
        for first, last in ((0, -1), (1, 2), (-2, -1), (-9, 0), (2, 1), (9, 12), (0, -9), (4, -1), (0, 99))
    },
}  # fmt: skip


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("key", KEYS)
def test_a_command_answers_and_changes_the_same(both, asked, key):
    seen = [lambda c, one=one: state(c, one) for one in KEYS]
    same(both, *OF_EACH_KIND, lambda c: ASKED[asked](c, key), *seen)


def state(client: Any, key: str) -> Any:
    """Everything about a key."""
    kind = client.type(key)
    read: dict[str, Step] = {
        "string": lambda c: c.get(key),
        "hash": lambda c: c.hgetall(key),
        "set": lambda c: c.smembers(key),
        "list": lambda c: c.lrange(key, 0, -1),
        "stream": lambda c: c.xrange(key),
        "none": lambda c: None,
    }
    return kind, read[kind](client), client.ttl(key)


def test_every_command_of_the_fake_is_compared():
    ours = {name for name in vars(Commands) if not name.startswith("_")}
    ours |= {name for name in vars(FakeClient) if not name.startswith("_")}
    elsewhere = {"keys", "scan_iter", "eval", "register_script", "pipeline", "ping", "close"}
    assert ours - {one.split()[0] for one in ASKED} == elsewhere


@pytest.mark.parametrize("name", ["info", "config_set", "flushall", "zadd", "execute_command"])
def test_what_the_fake_does_not_have_it_refuses_at_once(name):
    client = fake_store.connect(f"{fake_store.SCHEME}refusing")
    for one in (client, client.pipeline()):
        with pytest.raises(NotImplementedError, match=name):
            getattr(one, name)("x")


def test_small_things(both):
    same(both, lambda c: c.ping(), lambda c: c.mget([]), lambda c: c.exists(), lambda c: c.delete())
    same(
        both, lambda c: c.hmget("h", []), lambda c: c.hdel("h"), lambda c: c.sadd("s"), lambda c: c.rpush("l")
    )
    same(
        both, lambda c: c.hset("h"), lambda c: c.hset("h", "f"), lambda c: c.srem("s"), lambda c: c.lpush("l")
    )
    same(both, lambda c: c.pipeline().execute(), lambda c: c.xadd("x", {}))


@pytest.mark.parametrize(
    "value", ["", "ä€🚀", "\x00\n", b"bytes", 1, -1.5, 1e30, 10**30, None, True, [], "\ud800"]
)
def test_what_a_value_may_be(both, value):
    same(both, lambda c: c.set("a", value), lambda c: c.get("a"))
    same(both, lambda c: c.hset("h", value, value), lambda c: c.hgetall("h"))
    same(both, lambda c: c.rpush("l", value), lambda c: c.lrange("l", 0, -1))
    same(both, lambda c: c.set(value, "x"), lambda c: c.get(value))


@pytest.mark.parametrize(
    "number", ["", "01", "+1", " 1", "1 ", "-0", "0", "-1", "1.0", "٣", f"{LARGE}", f"{LARGE + 1}"]
)
def test_what_counts_as_a_whole_number(both, number):
    same(both, lambda c: c.set("a", number), lambda c: c.incrby("a", 1), lambda c: c.get("a"))
    same(
        both, lambda c: c.hset("h", "a", number), lambda c: c.hincrby("h", "a", -1), lambda c: c.hgetall("h")
    )


@pytest.mark.parametrize("pattern", ["*", "a:*", "a:?", r"a:\*", "a.b", "", "none*", "*:*:*"])
def test_keys_by_a_pattern(both, pattern):
    names = ("a:", "a:1", "a:*", "a:1:2", "a.b", "axb", "a:\n")
    written = [lambda c, name=name: c.set(name, "x") for name in names]
    same(
        both,
        *written,
        lambda c: sorted(c.keys(pattern)),
        lambda c: sorted(c.scan_iter(match=pattern, count=1000)),
    )


def test_answers_are_the_callers_own(both):
    """What a caller does with an answer changes nothing in the store."""
    for client in both.clients():
        for step in OF_EACH_KIND:
            step(client)
        client.hgetall("hash").clear()
        client.smembers("set").clear()
        client.lrange("list", 0, -1).clear()
        client.xrange("stream")[0][1].clear()
        client.xread({"stream": "0"})[0][1][0][1].clear()
    same(both, *[lambda c, key=key: state(c, key) for key in KEYS])


# ── what expires ─────────────────────────────────────────────────────────────


def test_what_has_expired_is_gone(both):
    for client in both.clients():
        client.set("a", "x", px=20)
        client.hset("h", "f", "x")
        client.pexpire("h", 20)
        until(lambda client=client: not client.exists("a", "h"))
    same(
        both, lambda c: c.get("a"), lambda c: c.hget("h", "f"), lambda c: c.sadd("h", "1"), lambda c: c.keys()
    )


def test_an_expiry_ends_with_what_replaces_the_value(both):
    same(both, lambda c: c.set("a", "x", ex=50), lambda c: c.ttl("a"), lambda c: c.incrby("a", 1))
    same(both, lambda c: c.set("n", "1", ex=50), lambda c: c.incrby("n", 1), lambda c: c.ttl("n"))
    same(
        both,
        lambda c: c.set("a", "y"),
        lambda c: c.ttl("a"),
        lambda c: c.set("a", "z", ex=9),
        lambda c: c.ttl("a"),
    )
    same(both, lambda c: c.rpush("l", "x"), lambda c: c.expire("l", 50), lambda c: c.rpush("l", "y"))
    same(
        both, lambda c: c.ttl("l"), lambda c: c.delete("l"), lambda c: c.rpush("l", "y"), lambda c: c.ttl("l")
    )


def test_a_test_may_set_the_fake_servers_clock():
    now = [100.0]
    client = FakeClient(Data(lambda: now[0]))
    client.set("a", "x", ex=10)
    now[0] = 109.9
    assert (client.get("a"), client.pttl("a")) == ("x", 100)
    now[0] = 110.0
    assert (client.get("a"), client.pttl("a"), client.keys()) == (None, -2, [])


# ── transactions ─────────────────────────────────────────────────────────────


def transaction(client: Any, *between: Step, watched: tuple[str, ...] = ("watched",)) -> Any:
    """Watches, lets another client of the same server do something, and writes."""
    with client.pipeline() as pipe:
        pipe.watch(*watched)
        for step in between:
            with suppress(redis.RedisError):
                step(pipe)
        pipe.multi()
        pipe.set("written", "x")
        return pipe.execute()


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("key", KEYS)
def test_the_same_writes_break_a_watch(both, asked, key):
    clients, others = both.clients(), both.clients()
    found = []
    for client, other in zip(clients, others, strict=True):
        for step in OF_EACH_KIND:
            step(client)
        act = lambda _, other=other: ASKED[asked](other, key)  # noqa: E731
        found.append(answer(lambda c, act=act: transaction(c, act, watched=(key, "other")), client))
        found[-1] = (found[-1], client.get("written"))
    assert found[1] == found[0]


def test_the_pipes_own_write_breaks_its_watch_too(both):
    assert (
        same(both, lambda c: transaction(c, lambda pipe: pipe.set("watched", "y")))[0][0] is redis.WatchError
    )
    same(both, lambda c: c.get("watched"), lambda c: c.get("written"))
    same(both, lambda c: transaction(c, lambda pipe: pipe.get("watched"), lambda pipe: pipe.watch("more")))


def test_what_expires_breaks_a_watch(both):
    def expire(client: Any) -> Any:
        client.set("watched", "x", px=30)
        return transaction(client, lambda _: until(lambda: not client.exists("watched")))

    def expired(client: Any) -> Any:
        """Before it was watched."""
        client.set("watched", "x", px=1)
        until(lambda: not client.exists("watched"))
        return transaction(client)

    same(both, expire, expired)


def test_the_states_of_a_pipeline(both):
    def act(client: Any) -> list[Any]:
        pipe = client.pipeline()
        steps: tuple[Step, ...] = (
            lambda p: p.set("a", "1"),
            lambda p: p.multi(),  # commands are queued already
            lambda p: p.execute(),
            lambda p: p.watch("a"),
            lambda p: p.get("a"),  # at once
            lambda p: p.watch("b"),
            lambda p: p.multi(),
            lambda p: p.watch("c"),
            lambda p: p.multi(),
            lambda p: p.get("a"),  # queued
            lambda p: p.hset("h", "f", 1),
            lambda p: p.execute(),
            lambda p: p.execute(),  # empty again
            lambda p: p.watch("a"),
            lambda p: p.execute(),
            lambda p: p.get("a"),  # queued: it watches nothing now
            lambda p: p.reset(),
            lambda p: p.execute(),
            lambda p: p.watch(),
        )
        return [answer(step, pipe) for step in steps]

    same(both, act)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("raising", [True, False])
def test_a_command_that_fails_stops_no_other(both, together, raising):
    def act(client: Any) -> Any:
        pipe = client.pipeline(transaction=together)
        pipe.set("a", "1").hset("a", "f", "x")  # type: ignore[no-untyped-call]
        pipe.incrby("a", 1)
        pipe.set("a", "2", nx=True)
        pipe.hgetall("none")
        pipe.sadd("a", "x")
        return pipe.execute(raise_on_error=raising)

    same(both, act, lambda c: c.get("a"))


def test_a_block_that_ends_with_an_error_forgets_what_it_queued(both):
    def act(client: Any) -> None:
        pipe = client.pipeline()
        with suppress(ValueError), pipe:
            pipe.watch("a")
            pipe.multi()
            pipe.set("a", "1")
            raise ValueError
        client.set("a", "2")
        with pipe:
            assert pipe.execute() == []

    same(both, act, lambda c: c.get("a"))


RANDOM: tuple[Callable[[Any, random.Random], Any], ...] = (
    lambda c, r: c.set(key(r), r.randrange(9)),
    lambda c, r: c.set(key(r), r.randrange(9), nx=True),
    lambda c, r: c.set(key(r), r.randrange(9), ex=1000),
    lambda c, r: c.get(key(r)),
    lambda c, r: c.mget([key(r), key(r)]),
    lambda c, r: c.incrby(key(r), r.randrange(-3, 3)),
    lambda c, r: c.delete(key(r), key(r)),
    lambda c, r: c.exists(key(r)),
    lambda c, r: c.expire(key(r), 2000),
    lambda c, r: c.hset(key(r), key(r), r.randrange(9)),
    lambda c, r: c.hdel(key(r), key(r)),
    lambda c, r: c.hgetall(key(r)),
    lambda c, r: c.hincrby(key(r), key(r), r.randrange(-3, 3)),
    lambda c, r: c.sadd(key(r), r.randrange(3), r.randrange(3)),
    lambda c, r: c.srem(key(r), r.randrange(3)),
    lambda c, r: c.smembers(key(r)),
    lambda c, r: c.rpush(key(r), r.randrange(3)),
    lambda c, r: c.lrem(key(r), r.randrange(2), r.randrange(3)),
    lambda c, r: c.ltrim(key(r), r.randrange(-3, 3), r.randrange(-3, 3)),
    lambda c, r: c.lrange(key(r), r.randrange(-3, 3), r.randrange(-3, 3)),
    lambda c, r: c.xadd(key(r), {"e": r.randrange(9)}, id=f"{r.randrange(99)}-1"),
    lambda c, r: c.xrange(key(r)),
    lambda c, r: c.eval(leases._TAKE, 3, key(r), "beats", "last", f"{r.randrange(2)}", "name"),
    lambda c, r: c.eval(leases._DROP, 3, key(r), "beats", "last", f"{r.randrange(2)}", "name"),
)


def key(chance: random.Random) -> str:
    return f"k{chance.randrange(5)}"


def sequence(first: Any, second: Any, chance: random.Random) -> list[Any]:
    """Two clients at the same keys, each now in a transaction and now not."""
    pipes, found = {first: first.pipeline(), second: second.pipeline()}, []
    began = {first: "", second: ""}
    for _ in range(120):
        client = chance.choice((first, second))
        pipe, act = pipes[client], chance.choice(RANDOM)
        match began[client], chance.randrange(4):
            case "", 0:
                watched = key(chance), key(chance)
                found.append(answer(lambda _, pipe=pipe, watched=watched: pipe.watch(*watched), None))
                began[client] = "watch"
            case "watch", 0:
                found.append(answer(lambda _, pipe=pipe: pipe.multi(), None))
                began[client] = "multi"
            case "multi", 0:
                found.append(answer(lambda _, pipe=pipe: pipe.execute(), None))
                began[client] = ""
            case "watch", 1:  # more are watched later
                more = key(chance)
                found.append(answer(lambda _, pipe=pipe, more=more: pipe.watch(more), None))
            case state_, _:
                found.append(answer(lambda c, act=act: act(c, chance), pipe if state_ else client))
    for pipe in pipes.values():
        pipe.reset()
    return [*found, *(state(first, f"k{number}") for number in range(5))]


@pytest.mark.parametrize("seed", range(40))
def test_sequences_at_random_of_two_clients(both, seed):
    (real, fake), (real_too, fake_too) = both.clients(), both.clients()
    expected = sequence(real, real_too, random.Random(seed))
    assert sequence(fake, fake_too, random.Random(seed)) == expected
    assert any(one == (redis.WatchError, False) for one in expected) or seed


def test_transactions_of_many_threads_lose_nothing(both):
    for clients in zip(both.clients(), both.clients(), both.clients(), strict=True):
        client = clients[0]

        def add(times: int, client: Any = client) -> None:
            while times:
                with client.pipeline() as pipe, suppress(redis.WatchError):
                    pipe.watch("count")
                    count = int(pipe.get("count") or 0)
                    pipe.multi()
                    pipe.set("count", count + 1)
                    pipe.execute()
                    times -= 1

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(add, [25] * 6))
        assert client.get("count") == "150"


# ── streams ──────────────────────────────────────────────────────────────────


def test_ids_that_the_server_makes_rise(both):
    for client in both.clients():
        made = [client.xadd("s", {"e": number, "b": "x"}) for number in range(50)]
        found = client.xrange("s")
        assert [entry for entry, _ in found] == made == sorted(made, key=numbers)
        assert [fields for _, fields in found] == [{"e": str(number), "b": "x"} for number in range(50)]
        assert client.xread({"s": made[9]}, count=3) == [["s", found[10:13]]]
        client.xadd("s", {"e": "far"}, id="99999999999999-7")
        assert client.xadd("s", {"e": "next"}) == "99999999999999-8"


def numbers(entry: str) -> tuple[int, ...]:
    return tuple(map(int, entry.split("-")))


def test_a_stream_is_cut_off_about_where_it_is_to_be(both):
    for client in both.clients():
        for number in range(500):
            client.xadd("s", {"e": number}, maxlen=100, approximate=True)
        found = client.xrange("s")
        assert 100 <= len(found) <= 200
        assert found[-1][1] == {"e": "499"}


def test_who_waits_for_an_entry_gets_it(both):
    for client, other in zip(both.clients(), both.clients(), strict=True):
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.xread, {"s": "0"}, count=5, block=2000)
            with other.pipeline() as pipe:
                pipe.set("a", "x")
                pipe.xadd("s", {"e": "1"}, id="1-1")
                pipe.execute()
            assert waiting.result() == [["s", [("1-1", {"e": "1"})]]]


# ── scripts ──────────────────────────────────────────────────────────────────

NAMES = ("string", "hash", "list", "none")
SCRIPTS: dict[str, tuple[str, int, tuple[tuple[Any, ...], ...]]] = {
    # its text, the number of its keys, what it is called with
    "take": (leases._TAKE, 3, (("x", "name"), ("y", "a"))),
    "renew": (leases._RENEW, 3, (("x", "name"), ("y", "a"))),
    "drop": (leases._DROP, 3, (("x", "name"), ("x", "a"), ("y", "a"))),
    "free": (leases._FREE, 3, (("1", "a"), ("2", "a"), ("x", "z"))),
    "read": (leases._READ, 3, (("a",), ("a", "z"), ("a", "b", "c"), ())),
    "record": (audit_log._RECORD, 2, (("entry",),)),
    "append": (
        events._APPEND,
        2,
        (("x", "b1", "100", "0", "one", "two"), ("y", "b1", "100", "50", "one"), ("x", "b2", "100", "50", "one")),
    ),
    "append without a fence": (events._APPEND, 1, (("", "b1", "100", "50", "one"), ("", "last", "9", "0", "one"))),
    "forget": (outbox._FORGET, 4, (("a",), ("z",))),
    "count": (
        metrics._COUNT,
        1,
        (
            ("hincrby", "a", "1", "hincrbyfloat", "a", "0.125", "hset", "z", "text"),
            ("hincrbyfloat", "b", "1.125", "hincrby", "b", "1", "hincrby", "c", "1", "hincrbyfloat", "c", "1"),
            ("hincrbyfloat", "n", "-0.5", "hincrbyfloat", "n", "0.5"),
            ("hincrbyfloat", "n", "x", "hincrbyfloat", "n", "0.001", "hincrbyfloat", "n", "0.002"),
        ),
    ),
}  # fmt: skip


def test_every_twin_is_compared():
    assert {twin(text) for text, _, _ in SCRIPTS.values()} == set(TWINS.values())


def test_a_script_that_was_changed_has_no_twin():
    with pytest.raises(NotImplementedError, match="change its twin"):
        fake_store.connect(f"{fake_store.SCHEME}x").register_script(leases._TAKE + " ")
    with pytest.raises(NotImplementedError, match="change its twin"):
        fake_store.connect(f"{fake_store.SCHEME}x").eval("return 1", 0)


def places(count: int) -> list[tuple[str, ...]]:
    """Keys for a script: each of them once of each type, the others not there or as they should be."""
    usual = [("string", "hash", "number", "none")[:count], ("none", "hash", "number", "none")[:count]]
    wrong = [(*one[:at], name, *one[at + 1 :]) for one in usual for at in range(count) for name in NAMES]
    return sorted(
        {
            *usual,
            *wrong,
            ("stream", "string", "none", "none")[:count],
            ("hash", "none", "new", "new2")[:count],
        }
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_and_its_twin_do_the_same(both, name):
    text, count, calls = SCRIPTS[name]
    real, fake = both.clients()
    seen = (*KEYS, "new", "new2")
    for keys in places(count):
        for arguments in calls:
            found = []
            for client in (real, fake):
                client.delete(*seen)
                for step in OF_EACH_KIND:
                    step(client)
                client.xadd("stream", {"e": "1", "b": "last"}, id="6-1")
                # twice: the second call finds what the first one has left
                call = lambda c, given=(*keys, *arguments): c.eval(text, count, *given)  # noqa: E731
                said = [answer(call, client) for _ in range(2)]
                found.append((said, [without_ids(state(client, one)) for one in seen]))
            assert found[1] == found[0], (keys, arguments)


def without_ids(found: tuple[str, Any, int]) -> tuple[str, Any, int]:
    kind, value, left = found
    if kind == "stream":
        value = [fields for _, fields in value]
    return kind, value, left


@pytest.mark.parametrize("seed", range(5))
def test_sums_are_the_same_to_the_last_digit_that_is_read(both, seed):
    chance = random.Random(seed)
    amounts = [f"{chance.random() * 10 ** chance.randrange(5):.3f}" for _ in range(200)]
    found = []
    for client in both.clients():
        for amount in amounts:
            client.eval(metrics._COUNT, 1, "sums", "hincrbyfloat", "sum", amount)
        found.append(float(client.hget("sums", "sum")))
    assert found[1] == pytest.approx(found[0], abs=1e-9)


def test_a_registered_script_is_called_with_keys_and_arguments(both):
    def act(client: Any) -> list[Any]:
        take, free = map(client.register_script, (leases._TAKE, leases._FREE))
        names = ["lease", "beats", "last"]
        return [
            take(keys=names, args=["x", 1]),
            take(keys=names, args=["x", 1]),
            free(keys=names, args=[1, 1]),
        ]

    assert same(both, act) == [[1, 0, 1]]


def test_the_fake_stands_where_the_client_is_made(valkey):
    with fake_store.in_memory():
        from pipeline.store import store

        assert isinstance(store.connect(f"{fake_store.SCHEME}there"), FakeClient)
        real = store.connect(valkey)
        assert isinstance(real, connection.Client)
        real.close()
    assert store.connect is connection.connect
