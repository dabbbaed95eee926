"""A real PostgreSQL beside an application, on the real service: made first, migrated, kept, stopped, renewed."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator

import pytest

import docker
from tests.support.paths import ROOT
from tests.support.service import Service, running
from tests.support.terminal import Terminal

CONFIG = """
accessories:
  shop-db:
    image: postgres:15
    volume: /var/lib/postgresql/data
    health: {run: [pg_isready, -h, 127.0.0.1, -U, postgres]}
    port: 5432
    secrets: {POSTGRES_PASSWORD: generate}
    memory: 256MiB
    stop: 5s
    backup:
      run: [pg_dump, -U, postgres, --clean, --if-exists, -d, postgres]
      restore: [psql, -U, postgres, -v, ON_ERROR_STOP=1, --single-transaction, -d, postgres]
pipelines:
  hello:
    uses: {db: shop-db}
    service:
      memory: 64MiB
      stop: 1s
      env: {DATABASE_URL: "postgres://postgres:${db.POSTGRES_PASSWORD|url}@${db.HOST}:${db.PORT}/postgres", PLAIN: "$5"}
      release: [sh, -c, 'psql -v ON_ERROR_STOP=1 "$DATABASE_URL" -f /migrate.sql']
    environments: {live: {keep_warm: 1s, bake: 0}}
"""
MIGRATION = """
create table if not exists visits (release text);
insert into visits values ('a visit');
"""


def application(version: str) -> dict[str, str | None]:
    """It serves what its database has, as of its start."""
    ask = 'psql -tA "$DATABASE_URL" -c "select count(*) from visits" >/www/index.html'
    run = f"{ask} || exit 7; exec httpd -f -p 0.0.0.0:8080 -h /www"
    start = json.dumps(["sh", "-c", run])
    dockerfile = f"FROM postgres:15\nCOPY www /www\nCOPY migrate.sql /\nENTRYPOINT []\nCMD {start}\n"
    return {"Dockerfile": dockerfile, "www/version": version, "migrate.sql": MIGRATION}


def guide(service: Service, heading: str, block: int = 0) -> str:
    """Runs the commands under that heading of the guide as they are written; what the last one said."""
    part = (ROOT / "docs" / "guides" / "databases.md").read_text().partition(f"## {heading}\n")[2]
    part = re.sub(r"^```yaml\n.*?^```$", "", part.partition("\n## ")[0], flags=re.MULTILINE | re.DOTALL)
    commands = part.split("```\n")[1::2][block].splitlines()
    assert commands
    for one in commands:
        said = service.pushlive(*shlex.split(one)[1:]).out
    return said


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    made = subprocess.run([ROOT / "scripts" / "images", "databases"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    with running(docker_client, CONFIG) as one:
        yield one


def password(service: Service, name: str = "shop-db") -> str:
    found = service.engine.inspect_container(f"{service.instance}-{name}-live")
    [value] = [one for one in found["Config"]["Env"] if one.startswith("POSTGRES_PASSWORD=")]
    return value.partition("=")[2]


def made(service: Service, name: str = "shop-db") -> str:
    return service.engine.inspect_container(f"{service.instance}-{name}-live")["Id"]


def test_it_is_made_migrated_kept_and_renewed_with_its_data(service: Service) -> None:
    service.push(application("one"), "One")
    run = service.run("hello#1")
    assert run["outcome"] == "live", run["failure"]
    assert [one["step"] for one in run["steps"] if one["stage"] == "live"][:3] == [
        "accessories",
        "release",
        "start",
    ]
    assert service.page("live").strip() == "1"
    first, value = made(service), password(service)

    text = service.config.read_text().replace("memory: 256MiB", "memory: 192MiB")
    service.config.write_text(text)
    service.push(application("two"), "Two")
    assert service.page("live").strip() == "2"  # the same database
    assert made(service) == first  # no push changes it

    shown = service.pushlive("accessory", "status").out
    assert "memory: 256 MiB → 192 MiB" in shown
    service.pushlive("accessory", "apply", "shop-db", "live")
    assert made(service) != first
    assert password(service) == value
    service.push(application("three"), "Three")
    assert service.page("live").strip() == "3"
    logs = service.pushlive("accessory", "logs", "shop-db", "live").out
    assert "database system is ready to accept connections" in logs
    everything = (
        service.pushlive("logs", "hello#3").text,
        shown,
        json.dumps(service.show("hello#3")),
        service.output,
    )
    assert not [text for text in everything if value in text]


def test_a_database_that_is_away_fails_a_run_by_name_and_serves_on(service: Service) -> None:
    service.pushlive("accessory", "stop", "shop-db", "live")
    service.push(application("four"), "Four")
    run = service.run()
    assert (run["outcome"], run["failure"]["whose"], run["failure"]["stage"]) == (
        "failed",
        "accessory",
        "live",
    )
    assert run["failure"]["message"].startswith("the accessory shop-db/live was stopped by ")
    assert service.page("live").strip() == "3"
    assert "accessory shop-db: it was stopped by" in service.pushlive("status", "hello").out
    guide(service, "Its files instead of a dump")
    assert "ready" in service.pushlive("accessory", "status").out
    service.pushlive("retry", run["id"])
    assert service.run()["outcome"] == "live"
    assert service.page("live").strip() == "4"


def test_its_data_come_back_from_a_backup(service: Service) -> None:
    count = 'psql -tA "$DATABASE_URL" -c "select count(*) from visits"'
    refused = service.pushlive("volume", "restore", "shop-db/live/data", "--from", "shop-db.tar", code=None)
    assert refused.code != 0  # it runs
    guide(service, "Its files instead of a dump", 1)
    assert service.pushlive("exec", "hello", "live", "--", "sh", "-c", count).out.strip() == "3"


def test_another_image_keeps_the_data_and_is_taken_back(service: Service) -> None:
    newer, text = f"{service.instance}-postgres:15-next", service.config.read_text()
    dockerfile = io.BytesIO(b"FROM postgres:15\nLABEL next=1\n")
    list(service.engine.build(fileobj=dockerfile, tag=newer, rm=True))
    ask = ("accessory", "exec", "shop-db", "live", "--", "psql", "-U", "postgres", "-tAc")
    count = "select count(*) from visits"
    try:
        before = service.pushlive(*ask, count).out
        service.config.write_text(text.replace("image: postgres:15", f"image: {newer}"))
        said = guide(service, "Another image")
        assert f"shop-db/live: image: postgres:15 → {newer}\n" in said
        found = service.engine.inspect_container(f"{service.instance}-shop-db-live")
        assert found["Config"]["Labels"]["next"] == "1"
        service.pushlive(*ask, "insert into visits values ('since')")
        guide(service, "Another image", 1)
        found = service.engine.inspect_container(f"{service.instance}-shop-db-live")
        assert found["Config"]["Image"] == "postgres:15"
        assert service.pushlive(*ask, count).out == before
        assert "before-upgrade" not in service.pushlive("volume", "list").out
    finally:
        service.config.write_text(text)
        service.engine.remove_image(newer, force=True)


def test_a_command_runs_in_it_with_and_without_a_terminal(service: Service) -> None:
    exec_ = ("accessory", "exec", "shop-db", "live")
    ask = ("psql", "-U", "postgres", "-tAc", "select 40 + 2; select 1 / 0")
    failed = service.pushlive(*exec_, "--", *ask, code=1)
    assert failed.out == "42\n"
    assert "division by zero" in failed.err
    value = password(service)
    with Terminal(service, *exec_) as terminal:
        terminal.reads("# ")
        terminal.type("echo $POSTGRES_PASSWORD; stty size; psql -U postgres\n")
        terminal.reads("•••", "30 100", "postgres=# ")
        terminal.reads_after("select 40 + 2 as sum;\n", " 42")
        terminal.reads_after("\\q\n", "# ")
        terminal.type("exit 3\n")
        assert terminal.ends() == 3
    assert value not in terminal.text
    entries = service.ask("GET", "/api/audit?limit=4")["entries"]
    entries = [one for one in entries if not one["act"].endswith(" ended")][:2]
    container = f"{service.instance}-shop-db-live"
    assert [(one["act"], one["environment"], one["detail"]) for one in reversed(entries)] == [
        ("accessory exec", "live", f"shop-db: {shlex.join(ask)}"),
        ("accessory exec", "live", "shop-db: sh"),
    ]
    developer = service.ask("POST", "/api/tokens", {"name": "dev", "role": "developer"})["token"]
    body, headers = json.dumps({"command": ["id"]}).encode(), {"Authorization": f"Bearer {developer}"}
    status, _ = service.http("POST", "/api/accessories/shop-db/live/exec", body, headers)
    assert status == 403
    assert container not in str(service.engine.top(container)["Processes"])


def test_a_dump_is_made_kept_and_loaded(service: Service) -> None:
    count = ("exec", "hello", "live", "--", "sh", "-c", 'psql -tA "$DATABASE_URL" -c "%s"')

    def psql(text: str) -> str:
        return service.pushlive(*count[:-1], count[-1] % text).out.strip()

    before = psql("select count(*) from visits")
    guide(service, "Backups")
    psql("insert into visits values ('another')")
    service.pushlive("accessory", "restore", "shop-db", "live", "--kept", "latest")
    assert psql("select count(*) from visits") == before
    [one] = json.loads(service.pushlive("backups", "--json").out)["backups"]
    kept, _ = one["kept"]  # the other is from before the upgrade
    assert (one["good"], one["problem"]) == (kept, "")
    file = service.folder / "cut.dump"
    file.write_bytes((service.folder / "shop-db.dump").read_bytes() + b"select * from nothing;\n")
    failed = service.pushlive("accessory", "restore", "shop-db", "live", "--from", str(file), code=None)
    assert "psql exited with 3" in failed.err
    assert psql("select count(*) from visits") == before


def test_the_guides_commands_for_every_day_work_as_they_are_written(service: Service) -> None:
    before = made(service)
    guide(service, "Day by day")
    assert made(service) == before  # nothing had changed for `apply`
    refused = service.pushlive("accessory", "rm", "shop-db", "live", code=None)
    assert refused.code != 0
    assert "it is in use by hello (pipelines.yaml)" in refused.err
    asked = ("volume", "rm", "shop-db/live/data", "--yes", "shop-db/live/data")
    assert (
        "`pushlive accessory rm shop-db live` removes the accessory"
        in service.pushlive(*asked, code=None).err
    )


def push_with_the_token_of_now(service: Service, version: str) -> None:
    one = service.repository()
    one.commit(application(version), version)
    one.git("push", f"http://ann:{service.token}@{service.listen}/git/hello.git", "main")


def test_a_lost_store_takes_it_up_with_its_password(service: Service) -> None:
    before, value = made(service), password(service)
    service.kill()
    (service.data / "store").rename(service.data / "store.lost")
    service.up(ready=503)
    said = service.pushlive("adopt").out
    assert (
        "the accessory shop-db/live: it goes on as it is, and its POSTGRES_PASSWORD was read from its container"
        in said
    )
    assert value not in said
    push_with_the_token_of_now(service, "five")
    assert service.run()["outcome"] == "live", service.run()["failure"]
    assert service.page("live").strip() == "4"  # the visits that the restored backup had, and one
    assert (made(service), password(service)) == (before, value)


def test_it_keeps_its_data_and_serves_on_under_another_name(service: Service) -> None:
    value = password(service)
    service.config.write_text(service.config.read_text().replace("shop-db", "store-db"))
    guide(service, "When it is renamed")
    assert password(service, "store-db") == value
    count = 'psql -tA "$DATABASE_URL" -c "select count(*) from visits"'
    assert service.pushlive("exec", "hello", "live", "--", "sh", "-c", count).out.strip() == "4"
    names = [one["Name"] for one in service.engine.volumes(filters={"name": service.instance})["Volumes"]]
    assert names == [f"{service.instance}-store-db-live-data"]


def test_database_and_service_come_back_on_an_empty_machine(service: Service) -> None:
    value, file = password(service, "store-db"), service.folder / "kept.tgz"
    ask = (
        "exec",
        "hello",
        "live",
        "--",
        "sh",
        "-c",
        'psql -tA "$DATABASE_URL" -c "select count(*) from visits"',
    )
    before = service.pushlive(*ask).out.strip()
    service.pushlive("backup", str(file), "--volumes")
    service.end()
    service.pushlive("down", "--all")
    shutil.rmtree(service.data)
    database = f"{service.instance}-store-db-live"
    service.engine.remove_container(database, force=True)
    service.engine.remove_volume(f"{database}-data")
    for image in service.engine.images(filters={"label": f"pushlive.instance={service.instance}"}):
        service.engine.remove_image(image["Id"], force=True)
    restored = service.pushlive("restore", str(file)).out
    assert "store-db/live has its data again, from store-db-live-data-" in restored
    service.up()
    assert password(service, "store-db") == value
    push_with_the_token_of_now(service, "six")
    assert service.run()["outcome"] == "live", service.run()["failure"]
    assert service.page("live").strip() == str(int(before) + 1)
    count = service.pushlive("backups", "--json").out
    assert len(json.loads(count)["backups"][0]["kept"]) == 1  # the one that was in the file


def test_another_database_takes_its_place_and_each_release_reaches_its_own(service: Service) -> None:
    def count() -> set[str]:
        """What the release that serves finds under the name `db`, each time that it looks."""
        ask = 'for n in 1 2 3 4 5 6; do psql -tA "$DATABASE_URL" -c "select count(*) from visits"; done'
        return set(service.pushlive("exec", "hello", "live", "--", "sh", "-c", ask).out.split())

    page = (ROOT / "docs" / "guides" / "databases.md").read_text().replace("shop-db", "store-db")
    part = page.partition("### Another major version\n")[2].partition("\n## ")[0].split("```\n")[1::2]
    backup, load, deploy = (shlex.split(one)[1:] for block in part for one in block.splitlines())
    text, before, serving = service.config.read_text(), count(), service.releases()["live"]
    assert len(before) == 1
    definition = text[text.index("  store-db:") : text.index("pipelines:")].replace(
        "store-db:", "store-db-17:"
    )
    both = text.replace("pipelines:", f"{definition}pipelines:", 1)
    service.config.write_text(both)
    service.pushlive(*backup)
    service.config.write_text(both.replace("{db: store-db}", "{db: store-db-17}"))
    service.pushlive(*load)
    assert count() == before  # by the password of its own one
    service.pushlive(*deploy[:1], "hello")
    assert service.run()["outcome"] == "live", service.run()["failure"]
    after = {str(int(*before) + 1)}
    assert count() == after
    old = ("accessory", "exec", "store-db", "live", "--", "psql", "-U", "postgres", "-tAc")
    assert {service.pushlive(*old, "select count(*) from visits").out.strip()} == before
    service.pushlive("revert", "hello", "--env", "live", "--to", f"r{serving}")
    assert count() == before
    service.config.write_text(text)


def test_down_stops_it_and_leaves_its_container_and_its_data(service: Service) -> None:
    before = made(service, "store-db")
    service.end()
    said = service.pushlive("down", "--all").text
    assert "stopped the accessory store-db/live; its data stay" in said
    assert "is in it" not in said  # its network could be removed
    assert made(service, "store-db") == before
    assert not service.engine.inspect_container(before)["State"]["Running"]
    assert service.engine.inspect_volume(f"{service.instance}-store-db-live-data")
