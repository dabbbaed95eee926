"""The process's own settings: loud on nonsense, secrets from files."""

from pathlib import Path

import pytest

from pipeline.config.settings import Secret, Settings, load
from pipeline.errors import ConfigError


def refused(**values: str) -> list[str]:
    """The problems that these variables (without their prefix) have."""
    with pytest.raises(ConfigError) as caught:
        load({f"PUSHLIVE_{name}": value for name, value in values.items()})
    first, *lines = str(caught.value).splitlines()
    assert first == "invalid settings in the environment:"
    return [line.strip() for line in lines]


def test_without_variables_the_defaults_apply() -> None:
    assert load({}) == Settings()
    assert load({"HOME": "/x", "PUSHLIVE_PORTS": ""}) == Settings()


def test_every_kind_of_value_is_read() -> None:
    settings = load(
        {
            "PUSHLIVE_DATA": "~/x",
            "PUSHLIVE_WORKERS": "8",
            "PUSHLIVE_BUILD_CPU": "1.5",
            "PUSHLIVE_LOG_LIMIT": "1MiB",
            "PUSHLIVE_FAILED_FOR": "5m",
            "PUSHLIVE_GIT_ALLOW": "git.internal, file:///srv/ ,",
            "PUSHLIVE_PORTS": "30000-30009",
            "PUSHLIVE_GITHUB_SECRET": "hush",
        }
    )
    assert settings.data == Path.home() / "x"
    assert (settings.workers, settings.build_cpu, settings.log_limit, settings.failed_for) == (
        8,
        1.5,
        2**20,
        300,
    )
    assert settings.git_allow == ("git.internal", "file:///srv/")
    assert list(settings.port_range) == list(range(30000, 30010))
    assert settings.github_secret == Secret("hush")


@pytest.mark.parametrize(
    ("text", "days"), [("2y", 730), ("90d", 90), ("0", 0), ("1.5y", 547.5), ("36h", 1.5)]
)
def test_an_age_may_be_in_years(text: str, days: float) -> None:
    assert load({"PUSHLIVE_EVIDENCE_KEEP": text}).evidence_keep == days * 86400


def test_a_secret_prints_as_dots() -> None:
    settings = load({"PUSHLIVE_GITHUB_SECRET": "hush", "PUSHLIVE_REDIS_URL": "redis://:hush@h/0"})
    assert "hush" not in f"{settings!r} {settings.github_secret} {settings.github_secret!r}"
    assert settings.github_secret.reveal() == "hush"


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hush\n")
    assert load({"PUSHLIVE_GITEA_SECRET_FILE": str(file)}).gitea_secret.reveal() == "hush"


def test_an_empty_missing_or_binary_secret_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "is empty; write the value into it" in refused(GITHUB_SECRET_FILE=str(tmp_path / "empty"))[0]
    assert "No such file" in refused(GITHUB_SECRET_FILE=str(tmp_path / "none"))[0]
    assert refused(GITHUB_SECRET_FILE=str(tmp_path / "binary")) == [
        "PUSHLIVE_GITHUB_SECRET: the file is not UTF-8 text"
    ]


def test_a_value_and_its_file_together_are_refused_without_showing_either(tmp_path: Path) -> None:
    (line,) = refused(GITHUB_SECRET="hush", GITHUB_SECRET_FILE=str(tmp_path / "x"))
    assert line.startswith("PUSHLIVE_GITHUB_SECRET: given twice, as PUSHLIVE_GITHUB_SECRET and as")
    assert "hush" not in line


def test_an_unknown_variable_is_refused_with_the_nearest_known_one() -> None:
    assert refused(WORKER="3") == ["PUSHLIVE_WORKER: unknown setting; did you mean PUSHLIVE_WORKERS?"]
    assert refused(XYZZY="3") == ["PUSHLIVE_XYZZY: unknown setting; docs/configuration.md lists them all"]


def test_variables_of_the_command_line_tests_and_applications_are_ignored() -> None:
    names = ("TOKEN", "TOKEN_FILE", "URL", "TEST_X", "HOOK_Y", "COMMIT", "RELEASE", "ENVIRONMENT")
    assert load({f"PUSHLIVE_{name}": "x" for name in names}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("INSTANCE", "Shop", "at most 21 lower-case letters"),
        ("INSTANCE", "a" * 22, "at most 21 lower-case letters"),
        ("INSTANCE", "a-", "not ending with a hyphen"),
        ("INSTANCE", "1a", "at most 21 lower-case letters"),
        ("INSTANCE", "a\n", "at most 21 lower-case letters"),
        ("LISTEN", "7070", "write ADDRESS:PORT"),
        ("LISTEN", "127.0.0.1:70700", "write ADDRESS:PORT"),
        ("PROXY_HTTPS", "443", "write ADDRESS:PORT"),
        ("PROXY_TRUSTED", "10.0.0.0/8,proxy", "write e.g. 127.0.0.1 or 10.0.0.0/8"),
        ("PREVIEW_PORT", "0", "between 1 and 65535"),
        ("PREVIEW_PORT", "x", "not a whole number"),
        ("PORTS", "80-90", "from 1024 to 65535"),
        ("PORTS", "65000-66000", "from 1024 to 65535"),
        ("PORTS", "30000-31000", "at most 1000 ports"),
        ("PORTS", "30010-30000", "lower one first"),
        ("PORTS", "abc", "write FIRST-LAST"),
        ("PORTS", "7000-7075", "PUSHLIVE_LISTEN uses port 7070, which is in PUSHLIVE_PORTS=7000-7075"),
        ("PORTS", "7080-7080", "PUSHLIVE_PROXY_HTTP uses port 7080"),
        ("PORTS", "7081-7090", "PUSHLIVE_PREVIEW_PORT uses port 7081"),
        ("PREVIEW_PORT", "7070", "PUSHLIVE_PREVIEW_PORT and PUSHLIVE_LISTEN use the same port 7070"),
        ("PROXY_HTTP", "0.0.0.0:7070", "PUSHLIVE_PROXY_HTTP and PUSHLIVE_LISTEN use the same port 7070"),
        ("WORKERS", "0", "between 1 and 64"),
        ("WORKERS", "65", "between 1 and 64"),
        ("WORKERS", "1e3", "not a whole number"),
        ("KEEP_RELEASES", "0", "between 1 and 1000"),
        ("BUILD_CPU", "-1", "between 0"),
        ("BUILD_CPU", "nan", "not a number"),
        ("BUILD_MEMORY", "-1", "not a size"),
        ("LOG_LIMIT", "0", "would refuse everything"),
        ("FAILED_FOR", "600", "not a duration"),
        ("SUBNETS", "10.213.0.0/33", "write a private range"),
        ("SUBNETS", "10.213.0.1/16", "has host bits set"),
        ("SUBNETS", "8.0.0.0/8", "must be a private range"),
        ("SUBNETS", "127.0.0.0/8", "must be a private range"),
        ("SUBNETS", "10.0.0.0/28", "one environment takes a /26"),
        ("REDIS_URL", "localhost:6379", "must begin with redis:// or rediss:// or unix://"),
        ("PUBLIC_URL", "deploy.example.com", "must begin with http:// or https://"),
    ],
)
def test_an_invalid_value_is_explained_with_a_valid_one(name: str, value: str, says: str) -> None:
    (line,) = refused(**{name: value})
    assert line.startswith("PUSHLIVE_")
    assert name in line
    assert says in line


def test_every_problem_is_reported_at_once() -> None:
    lines = refused(WORKERS="x", INSTANCE="A", SUBNETS="x", NOPE="1")
    assert [line.split(":")[0].split("=")[0] for line in lines] == [
        "PUSHLIVE_NOPE",
        "PUSHLIVE_WORKERS",
        "PUSHLIVE_INSTANCE",
        "PUSHLIVE_SUBNETS",
    ]


def test_one_port_is_a_valid_range() -> None:
    assert list(load({"PUSHLIVE_PORTS": "20000"}).port_range) == [20000]


def test_the_same_port_on_two_addresses_is_accepted() -> None:
    assert load({"PUSHLIVE_LISTEN": "127.0.0.2:7080"}).url == "http://127.0.0.2:7080"


def test_settings_made_in_code_read_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHLIVE_WORKERS", "9")
    assert Settings().workers == 4
    assert load().workers == 9


def test_a_wrong_value_hides_no_other_problem() -> None:
    assert [line.split(":")[0] for line in refused(WORKERS="x", PREVIEW_PORT="7070")] == [
        "PUSHLIVE_WORKERS",
        "PUSHLIVE_PREVIEW_PORT and PUSHLIVE_LISTEN use the same port 7070",
    ]


def test_a_wrong_value_is_not_repeated_in_full(tmp_path: Path) -> None:
    (line,) = refused(LOG_LIMIT="x" * 500)
    assert len(line) < 150


def test_settings_are_equal_and_hashable_by_their_values() -> None:
    assert len({load({}), Settings(), load({"PUSHLIVE_WORKERS": "8"})}) == 2
    with pytest.raises(ValueError, match="frozen"):
        Settings().workers = 1  # type: ignore[misc]


def test_every_setting_has_a_description() -> None:
    assert all(spec.description for spec in Settings.model_fields.values())


def test_a_finding_of_fsck_that_git_cannot_ignore_is_named() -> None:
    assert load({"PUSHLIVE_GIT_FSCK_IGNORE": "treeNotSorted, hasDot"}).git_fsck_ignore == (
        "treeNotSorted", "hasDot",
    )  # fmt: skip
    (line,) = refused(GIT_FSCK_IGNORE="treeSorted")
    assert line.endswith("did you mean treeNotSorted?")
    (line,) = refused(GIT_FSCK_IGNORE="nulInHeader")  # git calls it fatal
    assert "that can be ignored" in line
