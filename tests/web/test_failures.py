"""Failed authentications are limited; valid tokens and signatures never are."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from pipeline.config.settings import load
from pipeline.errors import ConfigError
from tests.support.fake_service import FakeService
from tests.web.test_receivers import github, signed
from webhooks.security.failures import (
    ALTOGETHER,
    LOGINS_RECORDED,
    PER_ADDRESS,
    REMEMBERED,
    Failures,
    group,
    sender,
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(make_app, clock, service):
    return make_app(clock, trusted_proxies=("127.0.0.1", "10.0.0.0/8")).test_client()


def api(client, given="wrong", **headers):
    return client.get("/api/status", headers={"Authorization": f"Bearer {given}"} | headers)


def git(client, given="wrong"):
    basic = "Basic " + b64encode(f"me:{given}".encode()).decode()
    path = "/git/hello.git/info/refs?service=git-upload-pack"
    answer = client.get(path, headers={"Authorization": basic}, buffered=True)
    answer.close()
    return answer


def page(client, given="wrong"):
    return client.post("/login", data={"token": given})


def hook(client, given="wrong"):
    body = json.dumps(github()).encode()
    return client.post("/hooks/github", data=body, headers=signed(body, given))


def test_failures_of_one_address_are_limited_and_allowed_again_later():
    clock = Clock()
    counted = Failures(clock)
    assert [counted.failed("10.0.0.1") for _ in range(PER_ADDRESS)] == [0] * PER_ADDRESS
    assert counted.failed("10.0.0.1") == 3  # seconds: 20 a minute
    assert counted.failed("10.0.0.2") == 0
    clock.now += 3
    assert counted.failed("10.0.0.1") == 0
    assert counted.failed("10.0.0.1") == 3
    clock.now += 3600
    assert [counted.failed("10.0.0.1") for _ in range(PER_ADDRESS + 1)] == [0] * PER_ADDRESS + [3]


def test_all_addresses_together_are_limited_in_number_and_memory():
    counted = Failures(Clock())
    passed = [counted.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(50_000)].count(0)
    assert passed == ALTOGETHER
    assert len(counted) == REMEMBERED


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"), ("", "unknown"), ("nonsense\n", "unknown"),
    ],
)  # fmt: skip
def test_an_ipv6_network_counts_as_one_sender(address, name):
    assert group(address) == name


@pytest.mark.parametrize(
    ("remote", "forwarded", "found"),
    [
        ("9.9.9.9", "", "9.9.9.9"),
        ("9.9.9.9", "1.1.1.1", "9.9.9.9"),  # not a trusted proxy
        ("127.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("127.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),  # the sender wrote the first one
        ("10.1.2.3", "2001:db8::7", "2001:db8::7"),
        ("::ffff:127.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("127.0.0.1", "1.1.1.1, unknown", "127.0.0.1"),
        ("127.0.0.1", "1.1.1.1,", "127.0.0.1"),
        ("", "1.1.1.1", ""),
    ],
)
def test_only_a_trusted_proxy_may_name_a_forwarded_address(remote, forwarded, found):
    assert sender(remote, forwarded, ("127.0.0.1", "10.0.0.0/8", "2001:db8::/32")) == found


def test_an_invalid_trusted_proxy_is_refused():
    assert load({"PUSHLIVE_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}).trusted_proxies[1] == "10.0.0.0/8"
    for wrong in ("10.0.0.1/8", "proxy.example", "*"):
        with pytest.raises(ConfigError, match="PUSHLIVE_TRUSTED_PROXIES"):
            load({"PUSHLIVE_TRUSTED_PROXIES": wrong})


@pytest.mark.parametrize(
    ("ask", "right", "good"),
    [(api, "viewer-token", 200), (git, "viewer-token", 200), (page, "viewer-token", 302),
     (hook, "new secret", 202)],
)  # fmt: skip
def test_fault_48_too_many_failures_are_answered_429_and_a_valid_token_passes(
    client, service, clock, ask, right, good
):
    assert [ask(client).status_code for _ in range(PER_ADDRESS)] == [401] * PER_ADDRESS
    counted = service.traces.total()
    refused = ask(client)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3")
    assert service.traces.total() == counted == PER_ADDRESS  # nothing was written
    assert ask(client, right).status_code == good
    clock.now += 3
    assert ask(client).status_code == 401


def test_a_request_without_a_token_is_not_a_failure(client, service):
    for _ in range(PER_ADDRESS * 3):
        assert client.get("/api/status").status_code == 401
        assert client.get("/git/hello.git/info/refs?service=git-upload-pack").status_code == 401
    assert api(client).status_code == 401
    assert service.traces == {"api: no token": 1}


def test_an_expired_token_is_a_failure_as_well(client, service: FakeService):
    service.expire("viewer-token")
    assert "expired" in api(client, "viewer-token").json["error"]
    assert "expired" in git(client, "viewer-token").text
    assert "expired" in page(client, "viewer-token").text
    for _ in range(PER_ADDRESS):
        last = api(client, "viewer-token")
    assert last.status_code == 429


def test_behind_a_trusted_proxy_each_sender_is_counted_alone(client):
    for _ in range(PER_ADDRESS + 1):
        last = api(client, **{"X-Forwarded-For": "6.6.6.6, 1.1.1.1"})
    assert last.status_code == 429
    assert "1.1.1.1" in last.json["error"]
    assert api(client, **{"X-Forwarded-For": "2.2.2.2"}).status_code == 401


def test_log_ins_are_recorded_and_failed_ones_limited(client, service, clock):
    page(client, "viewer-token")
    (who, act, _) = service.recorded.pop()
    assert (who.name, who.role, who.address, who.way, act) == (
        "viewer",
        "viewer",
        "127.0.0.1",
        "page",
        "log-in",
    )
    page(client, "")
    for _ in range(LOGINS_RECORDED * 2):
        page(client)
        clock.now += 3  # so that no address reaches its limit
    failed = [act for _, act, _ in service.recorded]
    assert set(failed) == {"log-in failed"}
    hour = LOGINS_RECORDED * 6 / 3600 * LOGINS_RECORDED
    assert LOGINS_RECORDED <= len(failed) <= LOGINS_RECORDED + hour
    assert "wrong" not in str([(who.name, what) for who, _, what in service.recorded])


def test_a_session_ends_when_its_token_expires(client, service):
    page(client, "developer-token")
    assert client.get("/").status_code == 200
    service.expire("developer-token")
    assert client.get("/").headers["Location"].startswith("/login")


def test_the_role_is_checked_on_each_request(client, service):
    page(client, "developer-token")
    service.texts["developer-token"] = type(service.texts["developer-token"])("developer", "viewer")
    assert "Revert to" not in client.get("/").text
