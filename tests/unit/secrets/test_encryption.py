"""The type that prints as •••, the key file, and what is encrypted with it."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import threading
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import PydanticSerializationError

from pipeline.config import loading, settings
from pipeline.domain.events import Event
from pipeline.domain.secret_versions import KEPT, SecretRecord, Version, added, newest
from pipeline.errors import ConfigError, EngineFailed
from pipeline.lib import codec
from pipeline.lib.secret import Secret
from pipeline.secrets import encryption
from pipeline.secrets.rules import MAX_SIZE, check_name, check_value

VALUE = Secret("hunter22")


def test_a_secret_prints_as_dots_everywhere() -> None:
    @dataclasses.dataclass
    class Holder:
        inside: Secret

    shown = f"{VALUE} {VALUE!r} {[VALUE]} {Holder(VALUE)} {VALUE!s:>5}"
    assert "hunter22" not in shown
    assert settings.Secret is Secret


def test_a_secret_cannot_be_written_by_accident() -> None:
    for act in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            act(VALUE)  # type: ignore[operator]
    with pytest.raises(PydanticSerializationError):
        codec.dump(Event("line", 1.0, data={"value": VALUE}))
    with pytest.raises(PydanticSchemaGenerationError):
        TypeAdapter(Secret)
    with pytest.raises(TypeError):
        vars(VALUE)


def test_a_key_is_created_once_and_readable_only_by_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secrets.key"
    assert encryption.read(path) is None
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(encryption.make(path).id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["secrets.key"]


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (0o644, None, "is accessible to other users"),
        (0o660, None, "chmod 600"),
        (0o600, "", "does not contain a secrets key"),
        (0o600, "c2hvcnQ=\n", "does not contain a secrets key"),
        (0o600, "not base64 !", "does not contain a secrets key"),
    ],
)
def test_a_key_file_that_cannot_be_trusted_is_refused(
    tmp_path: Path, mode: int, text: str | None, said: str
) -> None:
    path = tmp_path / "secrets.key"
    encryption.make(path)
    if text is not None:
        path.write_text(text)
    path.chmod(mode)
    with pytest.raises(EngineFailed) as caught:
        encryption.read(path)
    assert said in str(caught.value)


def test_a_value_decrypts_only_with_its_own_key_and_context(tmp_path: Path) -> None:
    key = encryption.make(tmp_path / "secrets.key")
    encrypted = key.encrypt(VALUE, "here")
    assert "hunter22" not in encrypted
    assert key.encrypt(VALUE, "here") != encrypted
    assert key.decrypt(encrypted, "here") == VALUE
    other = encryption.make(tmp_path / "other.key")
    changed = ("A" if encrypted[30] != "A" else "B").join((encrypted[:30], encrypted[31:]))
    for wrong in (lambda: key.decrypt(encrypted, "there"), lambda: other.decrypt(encrypted, "here"),
                  lambda: key.decrypt(changed, "here"), lambda: key.decrypt("", "here"),
                  lambda: key.decrypt("???", "here")):  # fmt: skip
        with pytest.raises(EngineFailed, match="was changed or belongs to another secret"):
            wrong()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is empty"),
        (" \n\t", "is empty"),
        ("abc", "fewer than 4 characters"),
        ("x" * (MAX_SIZE + 1), "larger than 64 KiB"),
        ("é" * (MAX_SIZE // 2 + 1), "larger than 64 KiB"),
        ("secret\0value", "NUL byte"),
        ("secret\ud800value", "not text"),
    ],
)
def test_an_invalid_value_is_refused_and_not_repeated(value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        check_value("NAME", Secret(value))
    assert len(value) < 5 or value not in str(caught.value)
    check_value("NAME", Secret("x" * MAX_SIZE))


@pytest.mark.parametrize("name", ["", "A-B", "1A", "A=hunter22", "A B", "É", "A" * 129, "A\n"])
def test_an_invalid_name_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(ConfigError, match="not a valid secret name") as caught:
        check_name(name)
    assert "hunter22" not in str(caught.value)


def version(number: int, environment: str = "") -> Version:
    return Version(number, environment, 1.0, "ann", "encrypted", "key")


def test_the_last_ten_versions_of_each_environment_and_those_in_use_are_kept() -> None:
    record = added(SecretRecord("A"), version(1, "live"), frozenset())
    for number in range(2, KEPT + 5):
        record = added(record, version(number), frozenset({3}))
    assert [one.number for one in record.versions] == [1, 3, *range(5, KEPT + 5)]
    assert record.last == KEPT + 4


def test_an_environments_own_version_wins() -> None:
    records = {"A": SecretRecord("A", 3, (version(1), version(2, "live"), version(3)))}
    wanted = {"qa": ("A",), "live": ("A",), "none": ()}
    assert newest(records, "hello", wanted) == {"qa": {"A": 3}, "live": {"A": 2}}


def test_the_error_names_every_missing_secret_and_its_command() -> None:
    with pytest.raises(ConfigError) as caught:
        newest({}, "hello", {"qa": ("A", "B"), "live": ("A",)})
    assert "A for qa, B for qa, A for live" in caught.value.message
    assert "`pushlive secret set hello B --env qa`" in caught.value.advice


CONFIG = """\
pipelines:
  hello:
    service:
      env: {A: x, PORT: 8080}
      secrets: [B, C]
    environments:
      qa: {secrets: [D, C]}
      live: {}
"""


def test_secrets_of_an_environment_are_added_to_the_services() -> None:
    pipeline = loading.load(CONFIG).pipelines["hello"]
    assert pipeline.render("qa").service.secrets == ("B", "C", "D")
    assert pipeline.render("live").service.secrets == ("B", "C")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("[B, C]", "[B, A]", 5, "A is already under `env` (line 4)"),
        ("[D, C]", "[D, A]", 7, "A is already under `env` (line 4)"),
        ("live: {}", "live: {env: {B: x}}", 5, "B is already under `env` (line 8)"),
        ("live: {}", "live: {env: {E: x}, secrets: [E]}", 8, "E is already under `env` (line 8)"),
        ("[B, C]", "[B, B]", 5, "B is listed twice here"),
        ("[B, C]", "[B, PUSHLIVE_X]", 5, "reserved for Pushlive"),
        ("[B, C]", "[B, not-a-name]", 5, "the name of a variable"),
    ],
)
def test_a_variable_that_would_come_twice_is_a_problem_with_its_line(
    old: str, new: str, line: int, said: str
) -> None:
    [problem] = loading.problems(CONFIG.replace(old, new))
    assert problem.line == line
    assert said in problem.message


def test_another_environments_variable_is_no_clash() -> None:
    assert loading.problems(CONFIG.replace("live: {}", "live: {env: {D: x}}")) == ()


def test_a_configuration_without_secrets_has_the_fingerprint_it_always_had() -> None:
    from pipeline.config.models import Rendered, Service

    assert Rendered(service=Service()).fingerprint() == "b4f69f46f7314f41"
    assert (
        Rendered(service=Service(secrets=("A",))).fingerprint() != Rendered(service=Service()).fingerprint()
    )
