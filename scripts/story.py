"""What ``scripts/demo`` shows, on real parts, with expectations that are checked."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from pipeline.lib.processes import exit_with  # noqa: E402
from tests.cluster import where  # noqa: E402 - the test cluster's addresses, from its own scripts
from tests.support.ports import free_port, free_ports  # noqa: E402

SAMPLE = TOP / "docker" / "sample"
PUSHLIVE = TOP / ".venv" / "bin" / "pushlive"

CONFIG = """\
pipelines:
  hello:
    service: {port: 8080, health: /healthz, cpu: 500m, memory: 64MiB, env: {GREETING: hello}}
    smoke:
      - {get: /healthz, status: 200, contains: ok, within: 500ms}
      - {run: [./smoke.sh]}
    environments:
      dev:
      qa:
      live: {replicas: 2, keep_warm: 30m}
"""
ON_A_CLUSTER = """\
pipelines:
  hello:
    registry: {registry}/hello
    service: {{port: 8080, health: /healthz, cpu: 500m, memory: 64MiB, env: {{GREETING: hello}}}}
    smoke:
      - {{get: /healthz, status: 200, contains: ok, within: 500ms}}
      - {{run: [./smoke.sh]}}
    environments:
      dev: {{engine: {{namespace: {namespace}}}}}
      qa: {{engine: {{namespace: {namespace}}}}}
      live: {{engine: {{namespace: {namespace}}}, replicas: 2, keep_warm: 30m}}
"""


class Failed(Exception):
    """An expectation was not met."""


def title(text: str) -> None:
    print(f"\n\033[1m── {text} ──\033[0m" if sys.stdout.isatty() else f"\n── {text} ──", flush=True)


def expect(held: bool, what: str) -> None:
    print(f"  {'✓' if held else '✗'} {what}", flush=True)
    if not held:
        raise Failed(what)


PORTS = 30  # environments


class Demo:
    """On this machine's Docker Engine; ``OnACluster`` has what is different there."""

    def __init__(self, folder: Path, once: bool) -> None:
        self.folder, self.once = folder, once
        self.config = CONFIG
        self.app = folder / "hello"
        self.environment = self._environment()
        self.service: subprocess.Popen[bytes] | None = None

    def _environment(self) -> dict[str, str]:
        """The demonstration has its own data, ports, subnet and names."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PUSHLIVE_", "GIT_"))}
        listen = f"127.0.0.1:{free_port()}" if self.once else "127.0.0.1:7170"
        first = free_ports(PORTS)  # never those of an installation with the defaults
        own = {
            "PUSHLIVE_DATA": str(self.folder / "data"),
            "PUSHLIVE_CONFIG": str(self.folder / "pipelines.yaml"),
            "PUSHLIVE_INSTANCE": "demo",
            "PUSHLIVE_LISTEN": listen,
            "PUSHLIVE_URL": f"http://{listen}",
            "PUSHLIVE_PROXY_HTTP": f"127.0.0.1:{free_port() if self.once else 7180}",
            "PUSHLIVE_PREVIEW_PORT": str(free_port()),
            "PUSHLIVE_PORTS": f"{first}-{first + PORTS - 1}",
            "PUSHLIVE_SUBNETS": "10.214.0.0/20",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        return clean | own

    def pushlive(self, *arguments: str, code: int | None = 0) -> str:
        print(f"  $ pushlive {shlex.join(arguments)}", flush=True)
        done = subprocess.run(
            [PUSHLIVE, *arguments], env=self.environment, capture_output=True, text=True, timeout=120
        )
        output = done.stdout + done.stderr
        print("".join(f"    {line}\n" for line in output.splitlines()), end="", flush=True)
        if code is not None:
            expect(done.returncode == code, f"pushlive {arguments[0]} exited with {done.returncode}")
        return output

    def data(self, *arguments: str) -> dict:
        done = subprocess.run(
            [PUSHLIVE, *arguments, "--json"], env=self.environment, capture_output=True, text=True, timeout=60
        )
        return json.loads(done.stdout)

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.app,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode:
            raise Failed(f"git {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def push(self, message: str) -> str:
        """A commit and a real ``git push``, whose output is printed as it arrives."""
        self.git("add", "-A")
        self.git("-c", "user.name=Ann", "-c", "user.email=ann@example.com", "commit", "-qm", message)
        print("  $ git push pushlive main", flush=True)
        began = time.monotonic()
        running = subprocess.Popen(
            ["git", "push", "pushlive", "main"],
            cwd=self.app,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert running.stdout
        seen = []
        for line in running.stdout:
            seen.append(line)
            print(f"    {line}", end="", flush=True)
        expect(running.wait() == 0, f"git push was accepted ({time.monotonic() - began:.1f} s)")
        return "".join(seen)

    # ── the acts ─────────────────────────────────────────────────────────────

    def start(self) -> None:
        title("the service")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "pipelines.yaml").write_text(self.config)
        print("  $ pushlive up", flush=True)
        self.service = subprocess.Popen([PUSHLIVE, "up"], env=self.environment, start_new_session=True)
        deadline = time.monotonic() + 60
        while self.service.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.environment['PUSHLIVE_URL']}/healthz", timeout=2).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        expect(self.service.poll() is None, "it is up")

    def repository(self) -> None:
        title("a sample application in its own repository")
        if self.app.exists():
            shutil.rmtree(self.app)
        shutil.copytree(SAMPLE, self.app)
        token = (self.folder / "data" / "token").read_text().strip()
        self.git("init", "-q", "-b", "main")
        url = self.environment["PUSHLIVE_URL"].replace("://", f"://ann:{token}@")
        self.git("remote", "add", "pushlive", f"{url}/git/hello.git")
        print("  " + ", ".join(sorted(p.name for p in self.app.iterdir() if p.name != ".git")), flush=True)

    def environments(self) -> dict[str, dict]:
        return {e["name"]: e for e in self.data("status", "hello")["pipelines"][0]["environments"]}

    def page(self, environment: dict) -> str:
        with urllib.request.urlopen(environment["url"] + "/?text", timeout=10) as answer:
            return answer.read().decode()

    def address(self, environment: dict) -> str:
        return f"{environment['url']}  {environment['host_url']}"

    def releases(self) -> dict[str, int | None]:
        return {name: e["release"] for name, e in self.environments().items()}

    def first(self) -> None:
        title("the first push: build → dev → qa → live")
        output = self.push("The first version")
        expect("remote:" in output and "live" in output, "the stages are part of git's own output")
        found = self.environments()
        for name in ("dev", "qa", "live"):
            expect(
                found[name]["release"] == 1 and "version=1" in self.page(found[name]),
                f"{name:<5} {self.address(found[name])}",
            )
        self.pushlive("show", "hello#1")

    def second(self) -> None:
        title("a second version")
        self.change("www/version", "VERSION=1", "VERSION=2")
        self.push("The second version")
        found = self.environments()
        expect(self.releases() == {"dev": 2, "qa": 2, "live": 2}, "r2 serves everywhere")
        expect("version=2" in self.page(found["live"]), f"live serves it: {self.address(found['live'])}")

    def revert(self) -> None:
        title("back in a second")
        began = time.monotonic()
        self.pushlive("revert", "hello", "--reason", "we liked the first one better")
        took = time.monotonic() - began
        found = self.environments()
        expect(
            self.releases() == {"dev": 2, "qa": 2, "live": 1},
            f"live serves r1 again, {took:.2f} s for the whole command",
        )
        expect("version=1" in self.page(found["live"]), "and its page is version 1")
        expect(found["live"]["hold"] is not None, "live is held until someone resumes it")

    def third(self) -> None:
        title("a version that fails its smoke checks in dev")
        before = self.releases()
        self.change("www/healthz", "ok", "out of order")
        output = self.push("The third version, broken")
        expect("failed" in output, "the developer is told why")
        expect(self.releases() == before, "nothing else changed")
        self.pushlive("follow", "hello#4", code=1)

    def change(self, file: str, old: str, new: str) -> None:
        path = self.app / file
        text = path.read_text()
        path.write_text(text.replace(old, new))
        expect(old in text, f"{file}: {old} → {new}")

    def end(self) -> None:
        title("the end")
        if self.service and self.service.poll() is None:
            self.service.send_signal(signal.SIGINT)
            self.service.wait(60)
        if self.once:
            self.serving_without_the_service()

    def serving_without_the_service(self) -> None:
        port = self.environment["PUSHLIVE_PORTS"].partition("-")[0]
        page = self.page({"name": "dev", "url": f"http://127.0.0.1:{port}"})
        expect("version=2" in page, "the service has stopped, and the application still serves")

    def clean(self) -> None:
        if self.service and self.service.poll() is None:
            self.service.send_signal(signal.SIGTERM)
            self.service.wait(60)
        subprocess.run([PUSHLIVE, "down", "--all"], env=self.environment, check=False, timeout=120)
        images = subprocess.run(
            ["docker", "images", "-q", "--filter", "label=pushlive.instance=demo"],
            capture_output=True,
            text=True,
            check=True,
        )
        for image in set(images.stdout.split()):
            subprocess.run(["docker", "rmi", "-f", image], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        print("This demonstration's images and its folder, with the data, were removed as well.")


class OnACluster(Demo):
    """The same on Kubernetes: the cluster that PUSHLIVE_TEST_KUBECONFIG names with the registry PUSHLIVE_TEST_REGISTRY,
    or the one that scripts/cluster starts here."""

    namespace = "pushlive-demo"

    def __init__(self, folder: Path, once: bool) -> None:
        title("a Kubernetes cluster")
        given, registry = (os.environ.get(f"PUSHLIVE_TEST_{name}") for name in ("KUBECONFIG", "REGISTRY"))
        if given and not registry:
            raise Failed(
                "PUSHLIVE_TEST_REGISTRY names the registry that this cluster pulls from; it is not set"
            )
        if not given:
            subprocess.run([TOP / "scripts" / "cluster", "up"], check=True, stdin=subprocess.DEVNULL)
        self.kubeconfig = Path(given or where.KUBECONFIG)
        super().__init__(folder, once)
        self.environment["KUBECONFIG"] = str(self.kubeconfig)
        self.registry = registry or f"localhost:{where.REGISTRY}"
        self.config = ON_A_CLUSTER.format(registry=self.registry, namespace=self.namespace)

    def kubectl(self, *arguments: str) -> str:
        program = shutil.which("kubectl", path=f"{where.BIN}:{os.environ.get('PATH', '')}") or "kubectl"
        done = subprocess.run(
            [program, *arguments], env=self.environment, capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            raise Failed(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def start(self) -> None:
        if not self.kubectl("get", "namespace", self.namespace, "--ignore-not-found"):
            self.kubectl("create", "namespace", self.namespace)
        print(f"  {self.kubectl('get', 'nodes', '--no-headers').strip()}", flush=True)
        super().start()

    def page(self, environment: dict) -> str:
        """Through the API server's proxy, which every cluster has. kubectl asks for the page that people see."""
        service = f"services/http:hello-{environment['name']}:http/proxy/"
        page = self.kubectl("get", "--raw", f"/api/v1/namespaces/{self.namespace}/{service}")
        return " ".join(f"{name}={value}" for name, value in re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", page))

    def address(self, environment: dict) -> str:
        return f"kubectl -n {self.namespace} port-forward service/hello-{environment['name']} 8080:80"

    def second(self) -> None:
        super().second()
        print(self.kubectl("-n", self.namespace, "get", "deployments,services"), end="", flush=True)

    def clean(self) -> None:
        super().clean()
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait=false")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument(
        "--once",
        action="store_true",
        help="stop and clean up afterwards; exit 0 only if every expectation was met",
    )
    parser.add_argument(
        "--engine", choices=["docker", "kubernetes"], default="docker", help="what the environments run on"
    )
    given = parser.parse_args()
    once = given.once
    folder = (
        Path(tempfile.mkdtemp(prefix="pl-demo-")) if once else Path.home() / ".cache" / "pushlive" / "demo"
    )
    try:
        demo = (OnACluster if given.engine == "kubernetes" else Demo)(folder, once)
    except (Failed, subprocess.CalledProcessError) as error:
        print(f"\nscripts/demo: {error}", file=sys.stderr)
        return 1
    if not once and folder.exists():
        demo.clean()  # what an earlier demonstration left
    try:
        demo.start()
        demo.repository()
        demo.first()
        demo.second()
        demo.revert()
        demo.third()
        if not once:
            try_it(demo)
        demo.end()
    except Failed as error:
        print(f"\nscripts/demo: an expectation was not met: {error}", file=sys.stderr)
        return 1
    finally:
        if once:
            demo.clean()
    title("every expectation was met" if once else "stopped; run `scripts/demo` to start again")
    return 0


def try_it(demo: Demo) -> None:
    title("try it yourself")
    token = demo.folder / "data" / "token"
    print(
        f"""  the page:          {demo.environment["PUSHLIVE_URL"]}   (token: cat {token})
  the application:   {demo.app}   change something, commit, git push pushlive main
  the command line:  export PUSHLIVE_URL={demo.environment["PUSHLIVE_URL"]} PUSHLIVE_TOKEN=$(cat {token})
                     {PUSHLIVE} status
  Ctrl-C stops the service; the applications keep serving. To remove them as well:
                     PUSHLIVE_DATA={demo.folder}/data PUSHLIVE_INSTANCE=demo {PUSHLIVE} down --all""",
        flush=True,
    )
    assert demo.service
    try:
        demo.service.wait()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    exit_with(main)
