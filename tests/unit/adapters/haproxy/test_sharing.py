"""The value by which the proxy shares an environment's visitors."""

from __future__ import annotations

from pipeline.adapters.haproxy.rules.sharing import Shared, map_value, thousandths


def test_it_names_share_cookies_and_backend() -> None:
    value = map_value(Shared("green", 250, "r2 #7"), "e3-green", "token")
    share, stay, move, backend = value.split(".")
    assert (share, backend, thousandths(value)) == ("250", "e3-green", 250)
    assert stay != move
    assert all(len(one) == 16 for one in (stay, move))


def test_a_cookie_is_one_shift_of_one_proxy_and_stays_while_the_share_grows() -> None:
    def cookies(shared: Shared, backend: str = "e3-green", proxy: str = "ours") -> tuple[str, ...]:
        return tuple(map_value(shared, backend, proxy).split(".")[1:3])

    first = cookies(Shared("green", 50, "r2 #7"))
    assert cookies(Shared("green", 250, "r2 #7")) == first
    others = [
        cookies(Shared("green", 50, "r2 #8")),
        cookies(Shared("green", 50, "r2 #7"), "e4-green"),
        cookies(Shared("green", 50, "r2 #7"), proxy="another"),
    ]
    assert not {*first} & {one for other in others for one in other}
