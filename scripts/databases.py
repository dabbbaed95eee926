"""Makes images of databases from Debian's packages for `scripts/images`, where no registry can be reached. They look
like the stock images: variables, folders, users, first start.

  postgres:15   POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB, PGDATA, /docker-entrypoint-initdb.d
  redis:7       the command's own options, data in /data
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

POSTGRES, REDIS = "postgres:15", "redis:7"
NUMBER = 1  # of what is kept in the cache: raise it when the content changes
LOCALE = Path("/usr/lib/locale/C.utf8")  # the C library is this machine's own as well
BIN = "usr/lib/postgresql/15/bin"
UNUSED = (
    "libllvm",
    "libz3",
    "ssl-cert",
    "postgresql-common",
    "postgresql-client-common",
    "logrotate",
    "locales",
)

POSTGRES_START = """#!/bin/sh
# As in the stock image: makes a cluster at the first start, then becomes PostgreSQL, as the user postgres.
set -eu
export PGDATA="${PGDATA:-/var/lib/postgresql/data}"
user="${POSTGRES_USER:-postgres}"
if [ "${1#-}" != "$1" ]; then set -- postgres "$@"; fi
if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /var/run/postgresql
  chown -R postgres:postgres "$PGDATA" /var/run/postgresql
  chmod 700 "$PGDATA"
  exec gosu postgres "$0" "$@"
fi
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
    echo "Error: Database is uninitialized and superuser password is not specified. Set POSTGRES_PASSWORD." >&2
    exit 1
  fi
  secret=$(mktemp)
  printf '%s\\n' "${POSTGRES_PASSWORD:-}" >"$secret"
  if [ -n "${POSTGRES_PASSWORD:-}" ]; then pw="--pwfile=$secret"; else pw=; fi
  initdb --username="$user" $pw --encoding=UTF8 --locale=C.UTF-8 ${POSTGRES_INITDB_ARGS:-}
  rm -f "$secret"
  echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
  sed -i "s/^#*listen_addresses.*/listen_addresses = '*'/" "$PGDATA/postgresql.conf"
  pg_ctl -D "$PGDATA" -o "-c listen_addresses=" -w start
  name="${POSTGRES_DB:-$user}"
  if [ "$name" != postgres ]; then
    psql -v ON_ERROR_STOP=1 --username "$user" --no-password --dbname postgres -c "CREATE DATABASE \\"$name\\""
  fi
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sh) . "$file" ;;
      *.sql) psql -v ON_ERROR_STOP=1 --username "$user" --no-password --dbname "$name" -f "$file" ;;
    esac
  done
  pg_ctl -D "$PGDATA" -m fast -w stop
  echo "PostgreSQL init process complete; ready for start up."
fi
exec "$@"
"""
REDIS_START = """#!/bin/sh
# As in the stock image: the data are in /data, and the server runs as the user redis.
set -e
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then set -- redis-server "$@"; fi
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  chown -R redis:redis /data
  exec gosu redis "$0" "$@"
fi
exec "$@"
"""
GOSU = """#!/bin/sh
user=$1
shift
exec /usr/bin/setpriv --reuid="$user" --regid="$user" --init-groups "$@"
"""


def make(name: str, tools: Any) -> None:
    """Imports the image. ``tools``: the module of `scripts/images`. The archive is kept: making it takes half a
    minute."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pushlive"
    archive = folder / f"{name.replace(':', '-')}-{NUMBER}.tar"
    fill, changes = (_postgres, POSTGRES_CHANGES) if name == POSTGRES else (_redis, REDIS_CHANGES)
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="pushlive-image-") as scratch:
            unfinished = archive.with_suffix(f".{os.getpid()}")
            unfinished.write_bytes(fill(Path(scratch), tools))
            unfinished.rename(archive)
    options = [part for change in changes for part in ("--change", change)]
    done = tools.run("docker", "import", *options, str(archive), name)
    if not done.returncode and name == POSTGRES:
        done = _with_stop_signal(name, "SIGINT", tools)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip())


def _with_stop_signal(name: str, signal: str, tools: Any) -> Any:
    """An import cannot set it; a container has it, and can become an image."""
    made = tools.run("docker", "create", "--stop-signal", signal, name)
    if made.returncode:
        return made
    container = made.stdout.decode().strip()
    try:
        return tools.run("docker", "commit", container, name)
    finally:
        tools.run("docker", "rm", "--volumes", container)


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POSTGRES_CHANGES = (
    f"ENV PATH={_PATH}:/{BIN}", "ENV PGDATA=/var/lib/postgresql/data", "ENV LANG=C.UTF-8", "ENV PG_MAJOR=15",
    "VOLUME /var/lib/postgresql/data", "EXPOSE 5432",
    'ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["postgres"]',
)  # fmt: skip
REDIS_CHANGES = (
    f"ENV PATH={_PATH}", "VOLUME /data", "WORKDIR /data", "EXPOSE 6379",
    'ENTRYPOINT ["docker-entrypoint.sh"]', 'CMD ["redis-server", "--protected-mode", "no"]',
)  # fmt: skip


def _postgres(scratch: Path, tools: Any) -> bytes:
    root = _unpacked(scratch, ("postgresql-15", "postgresql-client-15", "tzdata"), tools)
    tar = _base(tools, postgres=999)
    wanted = [root / "usr/lib/postgresql/15", root / "usr/share/postgresql/15", root / "usr/share/zoneinfo"]
    return _packed(tar, root, wanted, POSTGRES_START, tools)


def _redis(scratch: Path, tools: Any) -> bytes:
    root = _unpacked(scratch, ("redis-server", "redis-tools"), tools)
    tar = _base(tools, redis=999)
    tar.folder("data")
    wanted = [root / "usr/bin/redis-check-rdb", root / "usr/bin/redis-server", root / "usr/bin/redis-cli"]
    return _packed(tar, root, wanted, REDIS_START, tools)


def _base(tools: Any, **people: int) -> Any:
    tar = tools.Tar()
    tar.base(
        tools.packaged("busybox", "busybox-static"), {name: (number, "/") for name, number in people.items()}
    )
    return tar


def _packed(tar: Any, root: Path, wanted: Iterable[Path], start: str, tools: Any) -> bytes:
    """The tar of these files, and of the libraries that its programs are linked with."""
    setpriv = tools.packaged("setpriv", "util-linux")
    libraries = set(_libraries(setpriv, root))
    for path in (one for folder in wanted for one in _files(folder)):
        name = str(path.relative_to(root))
        if path.is_symlink():
            tar.link(name, os.readlink(path))
            continue
        tar.file(str(path), name)
        if os.access(path, os.X_OK) or path.suffix == ".so":
            libraries |= set(_libraries(str(path), root))
    for library in sorted(libraries):
        tar.file(library, library.removeprefix(str(root)).lstrip("/"))
    for path in _files(LOCALE) if LOCALE.exists() else ():
        tar.file(str(path), str(path).lstrip("/"))
    tar.file(setpriv, "usr/bin/setpriv")
    tar.text("usr/local/bin/docker-entrypoint.sh", start, 0o755)
    tar.text("usr/local/bin/gosu", GOSU, 0o755)
    return bytes(tar.finished())


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or path.is_file():
        if "bitcode" not in path.parts and "llvmjit" not in path.name:
            yield path
    else:
        for one in sorted(path.iterdir()):
            yield from _files(one)


def _libraries(program: str, root: Path) -> list[str]:
    """With the loader; those that were unpacked come before this machine's own."""
    found = [str(one) for one in (root / "usr/lib").glob("*-linux-gnu")]
    environ = {**os.environ, "LD_LIBRARY_PATH": ":".join(found)}
    done = subprocess.run(["ldd", program], capture_output=True, text=True, env=environ)
    words = (word for line in done.stdout.splitlines() for word in line.split() if word.startswith("/"))
    return [word for word in words if ".so" in word]


def _unpacked(scratch: Path, packages: tuple[str, ...], tools: Any) -> Path:
    """A folder with the files of these packages, and of those that they need and this machine does not have."""
    root, archives = scratch / "root", scratch / "archives"
    archives.mkdir()
    for again in (False, True):
        if again and tools.run("apt-get", "update", "-q").returncode:
            raise RuntimeError("apt-get update failed")
        listed = tools.run(
            "apt-get", "install", "--reinstall", "--print-uris", "-qq", "-y", "--no-install-recommends",
            "-o", "Debug::NoLocking=1", *packages,
        )  # fmt: skip
        names = [
            line.split()[1].partition("_")[0] for line in listed.stdout.decode().splitlines() if "_" in line
        ]
        names = [name for name in names if not name.startswith(UNUSED)]
        fetch: Callable[..., Any] = subprocess.run
        command = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *names]
        if names and not fetch(command, cwd=archives, capture_output=True).returncode:
            break
    else:
        raise RuntimeError(f"the packages {', '.join(packages)} cannot be fetched")
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", archive, root], check=True, capture_output=True)
    return root
