"""A real proxy leads paths of a release elsewhere."""

from __future__ import annotations

from pipeline.config.http.redirects import followed
from pipeline.config.settings import Settings
from tests.conftest import Bench
from tests.integration.test_maintenance import get
from tests.support.load import Load, release_of
from tests.support.waiting import until

REDIRECTS = {
    "/old": "/new",
    "/blog/*": "https://blog.example/*",
    "/blog/2020/*": "/archive",
    "/blog/2020/x": "/found",
    "/1/2/3/4/5/6/7/*": "/deep/*",
    "/root/*": "/*",
}
ASKED = (
    "/old", "/old/", "/blog/", "/blog/a/b", "/blog", "/blog/2020/y", "/blog/2020/x", "/1/2/3/4/5/6/7/8/9", "/root/a",
    "/root//evil.example", "/root/\\evil.example", "/root/%0d%0aX-A:%20b", "/blog/..%2f",
)  # fmt: skip


def test_a_releases_redirects_come_and_go_with_it(bench: Bench, settings: Settings) -> None:
    engine, port = bench.engine, settings.port_range[bench.index]
    blue, green = bench.spec("blue", 1), bench.spec("green", 2, http={"redirects": REDIRECTS})
    bench.deploy(blue)
    with Load(port, release_of, pause=0.01).kept_alive(1).fresh(1) as load:
        until(load.reached(20))
        assert get(port, "/old")[0] == 404
        bench.deploy(green)
        for path in ASKED:
            found = followed(path, REDIRECTS)
            status, _, headers = get(port, path)
            assert (path, status == 308, headers.get("location")) == (path, bool(found), found and found[1])
            if found:
                assert get(port, f"{path}?a=b&c=%20")[2]["location"] == f"{found[1]}?a=b&c=%20"
        assert get(port, "/old", "POST")[0] == 308
        until(load.reached(20))
        engine.switch(blue)  # a revert
        assert get(port, "/old")[0] == 404
        engine.switch(green)
        assert get(port, "/old")[2]["location"] == "/new"
    assert load.failures == []
