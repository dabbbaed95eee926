"""The figures that ``scripts/bench`` prints. Both sides of a pair run one after the other on the same machine, so other
load affects both. The figure is the median of the pairs' ratios."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import http.client
import io
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import metering_cost
import proxy_cost
from story import Demo, OnACluster, free_port, where

from pipeline.lib.processes import exit_with  # story.py has put the checkout on the path

TOP = Path(__file__).resolve().parent.parent
BY_HAND = "bench-by-hand"
CONFIG = """\
pipelines:
  hello:
    service: {port: 8080, health: /healthz}
    environments: {dev: , qa: , live: }
"""
ON_A_CLUSTER = """\
pipelines:
  hello:
    registry: {registry}/bench-hello
    service: {{port: 8080, health: /healthz, cpu: 500m}}
    environments:
      dev: {{engine: {{namespace: {namespace}}}}}
      qa: {{engine: {{namespace: {namespace}}}}}
      live: {{engine: {{namespace: {namespace}}}}}
"""
AWAY = "file:///nowhere/away.git"
WEBHOOK_SECRET = "the webhooks' secret"
DELIVERIES, FEW, MANY = 300, 8, 100
DOCKERFILE = 'FROM busybox:1.36\nCOPY www /www\nCMD ["httpd", "-f", "-p", "0.0.0.0:8080", "-h", "/www"]\n'


class Bench(Demo):
    """The demonstration's service with a minimal application."""

    measured = CONFIG

    def begin(self) -> None:
        self.environment["PUSHLIVE_INSTANCE"] = "bench"
        with contextlib.redirect_stdout(io.StringIO()):
            self.start()
        (self.folder / "pipelines.yaml").write_text(self.measured)
        (self.app / "www").mkdir(parents=True)
        (self.app / "www" / "healthz").write_text("ok\n")
        (self.app / "Dockerfile").write_text(DOCKERFILE)
        token = (self.folder / "data" / "token").read_text().strip()
        self.git("init", "-q", "-b", "main")
        url = self.environment["PUSHLIVE_URL"].replace("://", f"://ann:{token}@")
        self.git("remote", "add", "pushlive", f"{url}/git/hello.git")

    def commit(self, number: int) -> None:
        (self.app / "www" / "index.html").write_text(f"version {number}\n")
        self.git("add", "-A")
        self.git(
            "-c", "user.name=Ann", "-c", "user.email=a@example.com", "commit", "-qm", f"version {number}"
        )

    def push_to_live(self) -> float:
        began = time.monotonic()
        output = self.git("push", "pushlive", "main")
        took = time.monotonic() - began
        if "is live" not in output:
            raise SystemExit(f"the push did not go live:\n{output}")
        return took

    def by_hand(self) -> float:
        began = time.monotonic()
        subprocess.run(self.hand(), check=True, timeout=120, env=self.environment)
        return time.monotonic() - began

    def hand(self) -> list[object]:
        return [TOP / "scripts" / "byhand", self.app, BY_HAND, "8080"]

    def webhooks(self, connections: int) -> float:
        """Seconds until as many pushes of one pipeline are accepted over so many connections at once."""
        host, _, port = self.environment["PUSHLIVE_LISTEN"].rpartition(":")
        shares = [DELIVERIES // connections + (n < DELIVERIES % connections) for n in range(connections)]

        def send(share: int) -> None:
            connection = http.client.HTTPConnection(host, int(port), timeout=120)
            for _ in range(share):
                body, headers = delivery()
                connection.request("POST", "/hooks/github", body, headers)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 202:
                    raise SystemExit(f"a webhook was answered with {answer.status}: {text[:200]!r}")
            connection.close()

        began = time.monotonic()
        with ThreadPoolExecutor(connections) as pool:
            list(pool.map(send, shares))
        return time.monotonic() - began

    def finish(self) -> None:
        mine = ["--filter", f"label=pushlive.instance={BY_HAND}"]
        for listing, remove in (("ps -aq", "rm -f"), ("images -q", "rmi -f")):
            found = subprocess.run(
                ["docker", *listing.split(), *mine], capture_output=True, text=True, check=True
            )
            if found.stdout.split():
                arguments = ["docker", *remove.split(), *sorted(set(found.stdout.split()))]
                subprocess.run(arguments, check=False, capture_output=True)
        with contextlib.redirect_stdout(io.StringIO()):
            self.clean()


class BenchOnACluster(OnACluster, Bench):
    """The same on Kubernetes, against kubectl."""

    namespace = "pushlive-bench"

    def __init__(self, folder: Path, once: bool) -> None:
        super().__init__(folder, once)
        self.measured = ON_A_CLUSTER.format(registry=self.registry, namespace=self.namespace)
        self.environment["PATH"] = f"{where.BIN}:{self.environment['PATH']}"

    def hand(self) -> list[object]:
        program = TOP / "scripts" / "byhand-kubernetes"
        return [program, self.app, BY_HAND, "8080", self.registry, self.namespace]


def push_to_live(pairs: int) -> dict[str, object]:
    bench = Bench(Path(tempfile.mkdtemp(prefix="pl-bench-")), once=True)
    return compared("push-to-live", bench, pairs)


def push_to_live_on_kubernetes(pairs: int) -> dict[str, object]:
    with contextlib.redirect_stdout(io.StringIO()):
        bench = BenchOnACluster(Path(tempfile.mkdtemp(prefix="pl-bench-")), once=True)
    return compared("push-to-live-on-kubernetes", bench, pairs)


def delivery() -> tuple[bytes, dict[str, str]]:
    """A push that no webhook told of before."""
    commit = secrets.token_hex(20)
    body = json.dumps(
        {
            "ref": "refs/heads/main", "before": "0" * 40, "after": commit, "deleted": False,
            "repository": {"full_name": "bench/away", "clone_url": AWAY}, "pusher": {"name": "ann"},
            "head_commit": {"id": commit, "message": "A change"},
        }
    ).encode()  # fmt: skip
    digits = hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
    return body, {
        "X-GitHub-Event": "push", "X-GitHub-Delivery": secrets.token_hex(8), "Content-Type": "application/json",
        "X-Hub-Signature-256": f"sha256={digits}",
    }  # fmt: skip


class Told(Bench):
    """A service that is told of pushes to a repository elsewhere. Nothing is there, so that nothing is built."""

    measured = f"pipelines: {{away: {{source: {{url: '{AWAY}'}}, environments: {{live: }}}}}}"

    def begin(self) -> None:
        self.environment |= {
            "PUSHLIVE_GITHUB_SECRET": WEBHOOK_SECRET,
            "PUSHLIVE_GIT_ALLOW": "file:///nowhere/",
        }
        super().begin()


def webhooks_at_once(pairs: int) -> dict[str, object]:
    """The same number of webhooks over FEW and over MANY connections: the ratio is the throughput that is left."""
    bench = Told(Path(tempfile.mkdtemp(prefix="pl-bench-")), once=True)
    few, many = [], []
    try:
        bench.begin()
        bench.webhooks(FEW)
        for _ in range(pairs):
            few.append(bench.webhooks(FEW))
            many.append(bench.webhooks(MANY))
    finally:
        bench.finish()
        shutil.rmtree(bench.folder, ignore_errors=True)
    return figure("webhooks-at-once", few, many)


class Waking(Bench):
    """An environment that is put to sleep, against a container of the same image that is stopped."""

    measured = CONFIG.replace("dev: , qa: ,", "dev: {sleep_after: 1h},")
    bare = "bench-bare-start"

    def prepare(self) -> None:
        self.commit(0)
        self.push_to_live()
        self.url, self.port = self.environments()["dev"]["url"], free_port()
        subprocess.run(["docker", "rm", "-f", self.bare], check=False, capture_output=True)
        more = ["--init", "--label", f"pushlive.instance={BY_HAND}", "-p", f"127.0.0.1:{self.port}:8080"]
        image = self.images()[0]
        subprocess.run(
            ["docker", "create", "--name", self.bare, *more, image], check=True, capture_output=True
        )

    def images(self) -> list[str]:
        listed = ["docker", "ps", "-q", "--filter", "label=pushlive.environment=dev", "--filter"]
        instance = f"label=pushlive.instance={self.environment['PUSHLIVE_INSTANCE']}"
        found = subprocess.run([*listed, instance], check=True, capture_output=True, text=True).stdout.split()
        asked = ["docker", "inspect", "-f", "{{.Image}}", found[0]]
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()

    def started(self) -> float:
        """Seconds from `docker start` to the first answer."""
        subprocess.run(["docker", "stop", "-t", "1", self.bare], check=True, capture_output=True)
        began = time.monotonic()
        subprocess.run(["docker", "start", self.bare], check=True, capture_output=True)
        until_answered(f"http://127.0.0.1:{self.port}/healthz")
        return time.monotonic() - began

    def woken(self) -> float:
        """Seconds of the request that wakes it."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.pushlive("sleep", "hello", "dev")
        began = time.monotonic()
        with urllib.request.urlopen(f"{self.url}/healthz", timeout=60) as answer:
            answer.read()
        return time.monotonic() - began


def until_answered(url: str) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                answer.read()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.005)


def waking(pairs: int) -> dict[str, object]:
    """The request that wakes an environment, and a bare `docker start` until the same application answers."""
    bench = Waking(Path(tempfile.mkdtemp(prefix="pl-bench-")), once=True)
    ours, bare = [], []
    try:
        bench.begin()
        bench.prepare()
        for number in range(pairs + 1):
            one, other = bench.woken(), bench.started()
            if number:  # the first fills caches
                ours.append(one)
                bare.append(other)
    finally:
        bench.finish()
        shutil.rmtree(bench.folder, ignore_errors=True)
    return figure("waking", ours, bare)


def measuring_times(pairs: int) -> dict[str, object]:
    """Requests through the proxy while it measures how long answers take, and without: the ratio is its cost."""
    return figure("measuring-times", *proxy_cost.measured(pairs))


def sharing_traffic(pairs: int) -> dict[str, object]:
    """Requests through two slots that share the traffic, and through one: the ratio is the cost of a shift."""
    return figure("sharing-traffic", *proxy_cost.shared(pairs))


def compared(name: str, bench: Bench, pairs: int) -> dict[str, object]:
    ours, other = [], []
    try:
        bench.begin()
        for number in range(pairs + 2):
            bench.commit(number)
            hand, push = bench.by_hand(), bench.push_to_live()
            if number >= 2:  # the first two fill caches and both slots
                other.append(hand)
                ours.append(push)
                print(
                    f"  pair {number - 1}: push {push:.2f} s, by hand {hand:.2f} s",
                    file=sys.stderr,
                    flush=True,
                )
    finally:
        bench.finish()
        shutil.rmtree(bench.folder, ignore_errors=True)
    return figure(name, ours, other)


def metering(pairs: int) -> dict[str, object]:
    """The keeper's look at what everything takes, which it has every minute: the ratio is its share of a core."""
    return figure("metering", *metering_cost.on_fakes(pairs))


def metering_on_docker(pairs: int) -> dict[str, object]:
    """The same with a Docker Engine's own processor time, which others that use the Engine meanwhile share."""
    return figure("metering-on-docker", *metering_cost.on_docker(pairs))


def figure(name: str, ours: list[float], other: list[float]) -> dict[str, object]:
    ratio = statistics.median(a / b for a, b in zip(ours, other, strict=True))
    return {
        "name": name,
        "ours": round(statistics.median(ours), 4),
        "other": round(statistics.median(other), 3),
        "ratio": round(ratio, 5 if ratio < 0.01 else 3),
        "pairs": len(ours),
    }


FIGURES: dict[str, Callable[[int], dict[str, object]]] = {
    "push-to-live": push_to_live,
    "push-to-live-on-kubernetes": push_to_live_on_kubernetes,
    "webhooks-at-once": webhooks_at_once,
    "waking": waking,
    "measuring-times": measuring_times,
    "sharing-traffic": sharing_traffic,
    "metering": metering,
    "metering-on-docker": metering_on_docker,
}
SIDES = {
    "waking": ("a request that wakes an environment", "`docker start` until it answers"),
    "webhooks-at-once": (f"{DELIVERIES} webhooks over {FEW} connections", f"over {MANY}"),
    "measuring-times": ("HAProxy's processor time for 40000 requests", "without measuring"),
    "sharing-traffic": ("HAProxy's processor time for 40000 requests through two slots", "through one"),
    "metering": (
        "the keeper's processor time for a look at 30 pipelines in 3 environments",
        "a core's minute",
    ),
    "metering-on-docker": (
        "the keeper's and Docker's processor time for a look at 30 containers",
        "a core's minute",
    ),
}


@contextlib.contextmanager
def standard_output_for_figures_alone() -> Iterator[None]:
    """What this process and its children print meanwhile goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(FIGURES), help="one figure")
    parser.add_argument("--json", action="store_true", help="figures in seconds, as JSON")
    parser.add_argument(
        "--pairs", type=int, default=9, help="how many pairs (at least 9 for a reliable figure)"
    )
    arguments = parser.parse_args()
    names = [arguments.only] if arguments.only else list(FIGURES)
    with standard_output_for_figures_alone():
        figures = [FIGURES[name](arguments.pairs) for name in names]
    if arguments.json:
        print(json.dumps({"figures": figures}))
    else:
        for found in figures:
            ours, other = SIDES.get(str(found["name"]), ("push", "by hand"))
            print(
                "{name}: {0} {ours} s, {1} {other} s, ratio {ratio} (median of {pairs} pairs)".format(
                    ours, other, **found
                )
            )
    return 0


if __name__ == "__main__":
    exit_with(main)
