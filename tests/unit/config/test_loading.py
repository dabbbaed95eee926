"""pipelines.yaml: every problem at once, each with its line, its path and what is allowed there."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config.checks import HttpCheck
from pipeline.config.engines import Registry, where_of
from pipeline.config.loading import LONGEST_TEXT, load, problems, show
from pipeline.config.models import Config
from pipeline.errors import ConfigError
from tests.support.paths import ROOT

EXAMPLE = ROOT / "pipelines.yaml"


def hello(*lines: str) -> str:
    """A file with one pipeline; the lines are its keys, from line 3 on."""
    return "\n".join(["pipelines:", "  hello:", *(f"    {line}" for line in lines)])


def only(text: str) -> str:
    """The one problem of the text, as it is shown."""
    found = problems(text)
    assert len(found) == 1, [show(problem) for problem in found]
    return show(found[0])


def test_true_and_false_are_read_and_nothing_else() -> None:
    def service(value: str) -> str:
        return hello(f"service: {{init: {value}}}", "environments: {live: }")

    assert load(service("false")).pipelines["hello"].service.init is False
    assert load(service("true")).pipelines["hello"].service.init is True
    assert "service.init: YAML reads no as a boolean; write true or false" in only(service("no"))
    assert "write true or false" in only(service("2"))


def test_the_commented_example_loads() -> None:
    config = load(EXAMPLE.read_text(encoding="utf-8"))
    assert list(config.pipelines["hello"].environments) == ["dev", "qa", "live"]
    assert config.pipelines["hello"].render("live").hosts == ("hello.example.com",)
    assert config.pipelines["hello"].render("live").service.keep_warm == 1800


def test_every_commented_key_of_the_example_is_valid() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        before, mark, after = line.partition("# ")
        if number > 6 and mark and not before.strip() and ":" in after.split("  ")[0]:
            changed = [*lines[:number], before + after, *lines[number + 1 :]]
            if after.startswith("url:"):  # instead of the line above
                changed[number - 1] = ""
            assert problems("\n".join(changed)) == (), line


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "pipelines:\n", "{}"])
def test_an_empty_file_has_no_pipelines(text: str) -> None:
    assert load(text) == Config()


def test_every_problem_is_reported_at_once_in_the_order_of_lines() -> None:
    text = hello(
        "source: {brnch: main}",
        "service: {port: 80800, memory: 128, health: healthz}",
        "environments: {dev: {promote: never}}",
    )
    with pytest.raises(ConfigError) as caught:
        load(text, "my.yaml")
    assert str(caught.value).splitlines() == [
        "my.yaml:3: pipelines.hello.source.brnch: unknown key; did you mean `branch`? "
        "allowed here: repository, url, branch",
        "my.yaml:4: pipelines.hello.service.health: 'healthz' is not allowed; write a path that begins with "
        "`/`, without spaces, such as /healthz, or {path: …, host: …, scheme: https, send: {X-Key: a}}",
        "my.yaml:4: pipelines.hello.service.memory: '128' is too small; write a size such as 128MiB "
        "or 1GiB, from 6 MiB to 1024 GiB",
        "my.yaml:4: pipelines.hello.service.port: 80800 is too large; write a whole number from 1 to 65535",
        "my.yaml:5: pipelines.hello.environments.dev.promote: 'never' is not allowed; write auto, manual, "
        "or {manual: true, approvals: 2, not_by_pusher: true, expires: 24h}",
    ]


def test_a_hundred_problems_are_shown_and_the_rest_are_counted() -> None:
    with pytest.raises(ConfigError) as caught:
        load("\n".join(f"x{number}: 1" for number in range(150)))
    lines = str(caught.value).splitlines()
    assert len(lines) == 101
    assert lines[-1] == "pipelines.yaml: and 50 more problems; correct these first"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: &x 1\n", 1, "anchor"),
        ("budget:\n  deploy: *x\n", 2, "alias"),
        ("budget: !!python/object/apply:os.system [id]\n", 1, "tag"),
        ("\nbudget: !secret x\n", 2, "tag"),
        ("budget: !!map {}\n", 1, "tag"),
        ("budget: {}\npipelines: {}\nbudget: {}\n", 3, "given twice, first in line 1"),
        ("budget:\n  deploy: 5m\n  deploy: 6m\n", 3, "given twice, first in line 2"),
        ("pipelines: {<<: {a: 1}}\n", 1, "merge"),
        ("pipelines: {}\n---\npipelines: {}\n", 2, "second document"),
        ("pipelines:\n  ? [a]\n  : {}\n", 2, "a key must be plain text"),
        ("pipelines:\n\thello: {}\n", 2, "a tab where spaces are needed"),
        ("pipelines: {\n", 2, "not YAML"),
        ("pipelines: {}\n\x07\n", 2, "U+0007 is not allowed"),
        ('pipelines:\n  "\\UFFFFFFFF": 1\n', 2, "is not a valid character"),
        ("[" * 300, 1, "nested more than 20 deep"),
        ("{" * 300, 1, "nested more than 20 deep"),
        ("- " * 10_000, 1, "nested more than 20 deep"),
        ("\n" + "[{" * 40 + "x" + "}]" * 40, 2, "nested more than 20 deep"),
        ("#" * (1 << 20) + "\n", 1, "larger than 1 MiB"),
        ("pipelines: [" + "1," * 10_001 + "]", 1, "too many entries"),
    ],
)
def test_fault_18_yaml_beyond_plain_data_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    assert (line, True) in [(problem.line, says in problem.message) for problem in problems(text)]
    with pytest.raises(ConfigError):
        load(text)


def test_fault_18_an_alias_bomb_is_refused_without_being_expanded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    found = [problem for problem in problems("\n".join(lines)) if "alias" in problem.message]
    assert len(found) == 9 * 29
    assert found[-1].line == 30


@pytest.mark.parametrize("path", ["../Dockerfile", "a/../../b", "/etc/passwd", "..", "a\\\\..", "a\\nb"])
@pytest.mark.parametrize("key", ["dockerfile", "context"])
def test_fault_18_a_path_outside_the_repository_is_refused(key: str, path: str) -> None:
    text = hello(f'build: {{{key}: "{path}"}}', "environments: {dev: }")
    assert only(text).startswith(f"pipelines.yaml:3: pipelines.hello.build.{key}: ")
    assert "not a path inside the repository" in only(text)


@pytest.mark.parametrize(
    "branch", ["--upload-pack=touch /tmp/x", "-x", "a..b", "a b", "a~1", "refs/heads/a", "@"]
)
def test_fault_13_a_branch_named_like_an_option_or_invalid_in_git_is_refused(branch: str) -> None:
    text = hello(f'source: {{branch: "{branch}"}}', "environments: {dev: }")
    assert only(text).startswith("pipelines.yaml:3: pipelines.hello.source.branch: ")


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c id",
        "-oProxyCommand=x",
        "ssh://-oProxyCommand=x/y",
        "ftp://a/b",
        "/srv/a.git",
        "a.git",
        "git@-x:y",
    ],
)
def test_fault_14_an_address_that_git_would_execute_is_refused(url: str) -> None:
    text = hello(f'source: {{url: "{url}"}}', "environments: {dev: }")
    assert "not a repository URL; use https://" in only(text)


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/a/b.git",
        "ssh://git@h:22/a",
        "git@example.com:a/b.git",
        "http://h/a",
        "file:///srv/a",
    ],
)
def test_supported_repository_urls_are_accepted(url: str) -> None:
    text = hello(f'source: {{url: "{url}"}}', "environments: {dev: }")
    assert load(text).pipelines["hello"].source.url == url


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    text = hello("source: {url: 'https://me:hunter2@example.com/a'}", "environments: {dev: }")
    assert "contains a password" in only(text)
    assert "hunter2" not in only(text)
    text = hello("source: {url: 'ftp://me:hunter2@example.com/a'}", "environments: {dev: }")
    assert "hunter2" not in only(text)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "source: {branch: on}",
            'source.branch: YAML reads on as a boolean, not as text; put it in quotes: "on"',
        ),
        ("service: {env: {DEBUG: true}}", "service.env.DEBUG: YAML reads true as a boolean, not as text"),
        ("service: {env: {A: }}", 'service.env.A: is empty; write text (write "" for an empty text)'),
        (
            "service: {ready: 5:00}",
            "service.ready: '5:00': YAML may read a duration with a colon as one number; write 5m",
        ),
        ("service: {ready: 1:30}", "write 1m30s"),
        ("service: {ready: 5}", "'5' is not a duration; write numbers with units"),
        ("service: {ready: 5.0}", "'5.0' is not a duration"),
        ("service: {ready: 0s}", "service.ready: '0s' is too small; write a duration"),
        ("service: {port: 010}", "service.port: '010' is not a whole number"),
        ("service: {port: 80.5}", "'80.5' is not a whole number; write a whole number from 1 to 65535"),
        ("service: {port: " + "9" * 5000 + "}", "is not a whole number"),
        ("service: {port: [80]}", "service.port: a list is not a single value"),
        ("service: {memory: 1e400MiB}", "is not a size"),
        ("service: {cpu: 0.001}", "service.cpu: '0.001' is too small"),
        ("service: {command: ./run.sh --fast}", "is not a list: write [./run.sh, --fast]"),
        ("service: [a]", "service: a list is not a mapping; allowed here: port, health"),
        ("service: {env: {1A: x}}", "service.env.1A: '1A' is not allowed; write the name of a variable"),
        (
            "service: {env: {PUSHLIVE_COMMIT: x}}",
            "service.env.PUSHLIVE_COMMIT: names that begin with PUSHLIVE_",
        ),
        ('service: {env: {A: "a\\0b"}}', "service.env.A: the text contains a NUL character"),
        ('service: {env: {A: "\\ud800"}}', "service.env.A: the text contains half a character"),
        ("service: {registry: {A: b}}", "service.registry: unknown key; allowed here: port"),
        (
            "registry: team/hello",
            "registry: 'team/hello' does not name a registry, so the image would go to a public one",
        ),
        ("registry: https://r.example/x", "registry: 'https://r.example/x' begins with a scheme; leave out"),
        ("registry: https://me:hunter2@r.example/x", "'https://me:•••@r.example/x' begins with a scheme"),
        ("registry: r.example/x:r1", "registry: 'r.example/x:r1' has a tag or digest"),
        ("registry: r.example/Team", "registry: 'r.example/Team' is not a repository name for Docker"),
        ("registry: [a]", "registry: a list is not a mapping; allowed here: repository"),
        ("registry: yes", "registry: YAML reads yes as a boolean; write a repository such as"),
        ("registry: {username: me}", "registry: `repository` is missing"),
        ("registry: {repository: r.example/x, username: me}", "registry: has `username` but no `password`"),
        ("registry: {repository: r.example/x, password: PW}", "registry: has `password` but no `username`"),
        (
            "registry: {repository: r.example/x, username: me, password: hunter2!}",
            "registry.password: is not a valid secret name; write a name such as",
        ),
        ("registry: {repository: r.example/x, username: 'a b', password: P}", "'a b' is not a user name"),
        ("service: {security: lax}", "service.security: 'lax' is not allowed; write standard or strict"),
        ("service: {secrets: {A: b}}", "service.secrets: a mapping is not a list"),
        ("service: {healthcheck: /}", "unknown key; did you mean `health`?"),
        ("source: {repository: a, url: 'https://h/a'}", "source: give either `repository`"),
        ("source: {repository: ../a}", "source.repository: '../a' is not a repository name"),
        (
            "smoke: [{get: /, tcp: 80}]",
            "smoke[0]: has `get` and `tcp` in one check; write one check for each",
        ),
        (
            "smoke: [{get: /}, {path: /a}]",
            "smoke[1]: has neither `get` nor `tcp` nor `run`; did you mean `get`",
        ),
        ("smoke: [{tcp: 80, status: 200}]", "smoke[0].status: unknown key; allowed here: tcp, within, retry"),
        ("smoke: [{run: []}]", "smoke[0].run: must not be empty; write a list of texts"),
        (
            "smoke: [{get: /, json: {a: yes}}]",
            'smoke[0].json.a: YAML reads yes as a boolean; write true, false or "yes"',
        ),
        ("smoke: [{get: /, headers: {'a b': c}}]", "smoke[0].headers.'a b': 'a b' is not a header name"),
        ("smoke: [/healthz]", "smoke[0]: '/healthz' is not a check; a check is one of {get: /path}"),
        ("smoke: {get: /}", "smoke: a mapping is not a list; put `- ` before each entry"),
        ("budget: {deploy: soon}", "budget.deploy: 'soon' is not a duration"),
    ],
)
def test_a_problem_is_explained_at_its_line(line: str, says: str) -> None:
    text = hello(line, "environments: {dev: }")
    assert only(text).startswith("pipelines.yaml:3: pipelines.hello.")
    assert says in only(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "engine: kubernetes",
            "engine: unknown key; allowed here: budget, notify, freeze, costs, accessories, pipelines",
        ),
        (
            "pipelines: {hello: }",
            "pipelines.hello: `environments` is missing: for example `{dev: {}, qa: {}, live: {}}`",
        ),
        ("pipelines: {hello: {environments: {}}}", "pipelines.hello.environments: must not be empty"),
        (
            "pipelines: {Hello: {environments: {a: }}}",
            "pipelines.Hello: 'Hello' is not allowed; write a name of at most 32",
        ),
        ("pipelines: {h: {environments: {build: }}}", "an environment cannot be called 'build'"),
        (
            "pipelines: {h: {environments: {a: {host: 'http://x'}}}}",
            "pipelines.h.environments.a.host: 'http://x' is not",
        ),
        (
            "just text",
            "'just text' is not a mapping; allowed here: budget, notify, freeze, costs, accessories, pipelines",
        ),
    ],
)
def test_a_problem_of_the_whole_file_is_explained(text: str, says: str) -> None:
    assert says in only(text)


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("k8s", ": 'k8s' is not an engine; write docker or kubernetes, or {kubernetes: CONTEXT"),
        ("on", ": YAML reads on as a boolean; write docker or kubernetes"),
        ("[docker]", ": a list is not a mapping; allowed here: docker, kubernetes"),
        ("{kubernetes: a, docker: 'ssh://h'}", ": give either `docker` or `kubernetes`, not both"),
        ("{docker: , kubernetes: a}", ": give either `docker` or `kubernetes`, not both"),
        ("{docker: , namespace: shop}", ": `namespace` is for Kubernetes and has no effect on Docker"),
        ("{docker: 'ssh://h', ingress: nginx}", ": `ingress` is for Kubernetes and has no effect on Docker"),
        ("{docker: 'tcp://h'}", ".docker: 'tcp://h' is not the address of a Docker Engine"),
        ("{docker: 'tcp://h:1/x'}", ".docker: 'tcp://h:1/x' is not the address of a Docker Engine"),
        ("{docker: 'unix:///run/x'}", ".docker: 'unix:///run/x' is not the address of a Docker Engine"),
        ("{docker: 'ssh://-oProxyCommand=x'}", ".docker: 'ssh://-oProxyCommand=x' is not the address"),
        ("{docker: 'ssh://me:hunter2@h'}", ".docker: 'ssh://me:•••@h' is not the address"),
        ("{namespace: Shop}", ".namespace: 'Shop' is not a namespace"),
        ("{kubernetes: 'a b'}", ".kubernetes: 'a b' is not a context"),
        ("{ingress: A}", ".ingress: 'A' is not an IngressClass"),
        ("{context: a}", ".context: unknown key; allowed here: docker, kubernetes, namespace, ingress"),
    ],
)
def test_an_invalid_engine_is_refused_at_its_key(engine: str, says: str) -> None:
    text = hello("registry: r.example/x", f"environments: {{live: {{engine: {engine}}}}}")
    assert only(text).startswith(f"pipelines.yaml:4: pipelines.hello.environments.live.engine{says}")


@pytest.mark.parametrize(
    ("engine", "key"),
    [
        ("", "docker"),
        ("docker", "docker"),
        ("{docker: }", "docker"),
        ("{docker: 'ssh://me@h:22'}", "docker:ssh://me@h:22"),
        ("{docker: 'ssh://me@h/run/docker.sock'}", "docker:ssh://me@h/run/docker.sock"),
        ("{docker: 'tcp://10.0.0.1:2375'}", "docker:tcp://10.0.0.1:2375"),
        ("kubernetes", "kubernetes"),
        ("{kubernetes: }", "kubernetes"),
        ("{ingress: nginx}", "kubernetes"),
        ("{kubernetes: prod, ingress: nginx}", "kubernetes:prod/"),
        ("{kubernetes: , namespace: shop}", "kubernetes:/shop"),
        ("{namespace: shop}", "kubernetes:/shop"),
        (
            "{kubernetes: 'arn:aws:eks:x:1:cluster/a', namespace: shop}",
            "kubernetes:arn:aws:eks:x:1:cluster/a/shop",
        ),
    ],
)
def test_each_engine_has_one_key_that_names_it_again(engine: str, key: str) -> None:
    text = hello("registry: r.example/x", f"environments: {{live: {{engine: {engine}}}}}")
    found = load(text).pipelines["hello"].render("live").engine
    assert found.key == key
    assert where_of(key) == found.model_copy(update={"ingress": ""})
    assert (found.kind.name, found.kind.local) == (key.partition(":")[0], key == "docker")


def test_an_unknown_engine_key_is_refused() -> None:
    with pytest.raises(ValueError, match="is not the key of an engine"):
        where_of("podman")


@pytest.mark.parametrize("engine", ["kubernetes", "{kubernetes: a}", "{namespace: b}", "{docker: 'ssh://h'}"])
@pytest.mark.parametrize("registry", ["", "registry:\n"])
def test_another_engine_needs_a_registry(engine: str, registry: str) -> None:
    text = f"pipelines:\n  hello:\n    {registry}\n    environments:\n      live: {{engine: {engine}}}\n"
    assert only(text).endswith(
        "pipelines.hello.environments.live.engine: runs on another machine, which pulls its images from a "
        "registry; write `registry: registry.example.com/team/hello` under pipelines.hello"
    )
    assert load(text.replace(f"engine: {engine}", "engine: docker")).pipelines


def test_a_registry_is_written_as_its_address_or_with_a_login() -> None:
    short = load(hello("registry: localhost:5000/a/b", "environments: {dev: }")).pipelines["hello"]
    assert short.registry == Registry(repository="localhost:5000/a/b")
    assert short.registry.host == "localhost:5000"
    long = load(
        hello("registry: {repository: r.example/x, username: me, password: PW}", "environments: {dev: }")
    )
    assert long.pipelines["hello"].render("dev").registry == Registry(
        repository="r.example/x", username="me", password="PW"
    )


def test_a_host_of_two_environments_is_refused() -> None:
    text = "pipelines:\n  a: {environments: {dev: {host: x.example}}}\n"
    text += "  b: {environments: {dev: {hosts: [y.example, x.example]}}}"
    assert only(text) == (
        "pipelines.yaml:3: pipelines.b.environments.dev.hosts[1]: 'x.example' already belongs to a/dev "
        "(line 2); give each environment its own"
    )


def test_two_environments_with_the_same_localhost_name_are_refused() -> None:
    text = "pipelines:\n  a-b: {environments: {c: }}\n  a: {environments: {b-c: }}"
    assert only(text).startswith(
        "pipelines.yaml:3: pipelines.a.environments.b-c: 'a-b-c.localhost' already belongs to a-b/c"
    )


def test_a_duplicate_host_is_reported_beside_other_problems() -> None:
    text = (
        "pipelines:\n  a: {x: 1, environments: {d: {host: h}}}\n  b: {environments: {d: {host: h, port: x}}}"
    )
    assert [problem.path for problem in problems(text)] == [
        "pipelines.a.x",
        "pipelines.b.environments.d.host",
        "pipelines.b.environments.d.port",
    ]


def test_a_localhost_name_over_63_characters_is_refused() -> None:
    long = "a" * 32
    assert "longer than 63 characters" in only(f"pipelines: {{{long}: {{environments: {{{long}: }}}}}}")


def test_two_pipelines_may_share_a_repository_and_branch() -> None:
    lines = [f"  {name}: {{source: {{repository: r}}, environments: {{d: }}}}" for name in "ab"]
    assert list(load("\n".join(["pipelines:", *lines])).pipelines) == ["a", "b"]


def test_unquoted_values_stay_the_text_that_was_written() -> None:
    text = hello(
        "source: {branch: 1.10}",
        "service:",
        "  env: {PORT: 8080, V: 1.10, T: 5:00, D: 2024-01-01, O: 010, E: '', Q: 'yes'}",
        "  command: [sleep, 5]",
        "environments: {dev: }",
    )
    pipeline = load(text).pipelines["hello"]
    assert pipeline.source.branch == "1.10"
    assert pipeline.service.command == ("sleep", "5")
    assert pipeline.service.env == {
        "PORT": "8080", "V": "1.10", "T": "5:00", "D": "2024-01-01", "O": "010", "E": "", "Q": "yes",
    }  # fmt: skip


def test_values_of_a_json_check_keep_their_types() -> None:
    text = hello(
        "smoke: [{get: /, json: {a: true, b: 1, c: 1.5, d: x, e: null, f: '1'}}]", "environments: {dev: }"
    )
    check = load(text).pipelines["hello"].smoke[0]
    assert isinstance(check, HttpCheck)
    assert check.json_path == {"a": True, "b": 1, "c": 1.5, "d": "x", "e": None, "f": "1"}
    assert [type(value) for value in check.json_path.values()] == [bool, int, float, str, type(None), str]


def test_an_empty_block_equals_a_missing_one() -> None:
    text = hello(
        "build:", "service:", "smoke:", "environments:", "  dev:", "  live: {smoke: , env: , command: }"
    )
    pipeline = load(text).pipelines["hello"]
    assert pipeline.render("live") == pipeline.render("dev")
    assert pipeline.environment("live").model_fields_set == set()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="ab:-{}[]\"'&*!?|>#%@`,. \n\t0x\\U\u00e9\ud800\x00", max_size=60))
def test_any_text_loads_or_has_problems_with_lines(text: str) -> None:
    found = problems(text)
    if not found:
        load(text)
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + 1
    assert all(1 <= problem.line <= lines and problem.message for problem in found)


def test_terminal_escapes_in_a_key_or_value_are_shown_inert() -> None:
    found = problems('"\\e[31mred": 1\nbudget: {deploy: "\\e[2J"}')
    assert len(found) == 2
    assert all("\x1b" not in show(problem) for problem in found)


def test_a_limit_of_processes_is_refused_where_the_engine_has_none() -> None:
    text = "pipelines: {a: {registry: r.io/a, service: {%s}, environments: {dev: {%s}, live: {engine: kubernetes}}}}"
    assert problems(text % ("", "pids: 99")) == ()
    (one,) = problems(text % ("pids: 99", ""))
    assert one.path == "pipelines.a.service.pids"
    assert one.message.startswith(
        "is not possible for live, on a cluster: Kubernetes limits processes by node"
    )
    (one,) = problems(text.replace("engine: kubernetes", "engine: kubernetes, pids: 99") % ("", ""))
    assert one.path == "pipelines.a.environments.live.pids"


LARGE = "x" * (LONGEST_TEXT - len("X=") - 1)


def service_of(key: str, value: str) -> str:
    return f"pipelines: {{a: {{service: {{{key}: {value}}}, environments: {{live: }}}}}}"


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("env", f"{{X: {LARGE}x}}", "service.env.X"),
        ("command", f"[serve, xx{LARGE}x]", "service.command[1]"),
        ("release", f"[xx{LARGE}x]", "service.release[0]"),
        ("release", f"{{command: [xx{LARGE}x]}}", "service.release.command[0]"),
    ],
)
def test_a_text_that_the_kernel_gives_to_no_process_is_a_problem(key: str, value: str, path: str) -> None:
    (one,) = problems(service_of(key, value))
    assert one.path == f"pipelines.a.{path}"
    assert "the kernel gives a process no text longer than 128 KiB" in one.message
    assert problems(service_of(key, value.replace("x}", "}").replace("x]", "]"))) == ()


@pytest.mark.parametrize("key", ["ready", "stop", "drain", "keep_warm"])
def test_a_duration_that_no_timer_takes_is_a_problem(key: str) -> None:
    (one,) = problems(service_of(key, "999999d"))
    assert one.path == f"pipelines.a.service.{key}"
    assert "longer than 50 years" in one.message


@pytest.mark.parametrize(("text", "value"), [("false", False), ("true", True), ("False", False)])
def test_a_key_that_is_true_or_false_is_written_as_such(text: str, value: bool) -> None:
    config = load(hello(f"service: {{init: {text}}}", "environments: {live: }"))
    assert config.pipelines["hello"].service.init is value


@pytest.mark.parametrize("text", ["yes", "off", "perhaps"])
def test_what_is_neither_true_nor_false_is_refused(text: str) -> None:
    assert "write true or false" in only(hello(f"service: {{init: {text}}}", "environments: {live: }"))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("service.command", 'service: {command: [""]}'),
        ("service.release.command", 'service: {release: {command: [" ", up]}}'),
        ("smoke[0].run", 'smoke: [{run: [""]}]'),
    ],
)
def test_a_command_without_a_program_is_a_problem(path: str, text: str) -> None:
    found = problems(f"pipelines: {{a: {{{text}, environments: {{live: }}}}}}")
    assert [(one.path, one.message) for one in found] == [
        (f"pipelines.a.{path}", "its first word is empty; name the program to run")
    ]
    assert problems("pipelines: {a: {service: {release: []}, environments: {live: }}}") == ()
