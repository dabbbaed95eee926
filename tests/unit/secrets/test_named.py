"""Every secret that a configuration can name is one of those that are reported if they are not set."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config import loading
from pipeline.config.introspection import Hint, keys_of
from pipeline.config.models import Config
from pipeline.secrets.named import named

TEXT = """
accessories:
  db: {image: postgres:15, secrets: {OF_ACCESSORY: set, MADE: generate}}
pipelines:
  hello:
    registry: {repository: r.example/hello, username: bob, password: OF_REGISTRY}
    service: {secrets: [OF_SERVICE], http: {basic: {carol: OF_ALL_VISITORS}}}
    uses: {db: {accessory: db}}
    environments:
      qa: {}
      live:
        secrets: [OF_ENVIRONMENT]
        http: {basic: {alice: OF_VISITORS, bob: OF_VISITORS, dan: OF_SERVICE}}
        metrics: {prometheus: https://prometheus.example.com, token: OF_METRICS}
"""
NAMES = {
    "accessories.*.secrets": "OF_ACCESSORY",
    "pipelines.*.registry.password": "OF_REGISTRY",
    "pipelines.*.service.secrets": "OF_SERVICE",
    "pipelines.*.environments.*.secrets": "OF_ENVIRONMENT",
    "pipelines.*.service.http.basic": "OF_ALL_VISITORS",
    "pipelines.*.environments.*.http.basic": "OF_VISITORS",
    "pipelines.*.environments.*.metrics.token": "OF_METRICS",
}


def keys(hint: Hint, path: str = "") -> Iterator[str]:
    """The keys of the models that name secrets."""
    if hint.shape == "model":
        for key, inner in keys_of(hint.base).items():
            where = f"{path}.{key}".lstrip(".")
            if key == "secrets" or "the name of a secret" in inner.words:
                yield where
            else:
                yield from keys(inner, where)
    elif hint.shape in ("mapping", "list", "check", "any"):
        star = ".*" if hint.shape == "mapping" else ""
        for part in hint.parts:
            yield from keys(part, f"{path}{star}")


def test_the_sample_names_one_for_each_key_that_can() -> None:
    assert set(keys(Hint(Config))) == set(NAMES)


def test_each_is_found_where_it_is_named_and_what_is_made_is_not() -> None:
    found = {(one.owner, one.environment, one.name, one.key) for one in named(loading.load(TEXT))}
    assert found == {
        ("hello", "", "OF_REGISTRY", "pipelines.hello.registry.password"),
        ("hello", "live", "OF_SERVICE", "pipelines.hello.environments.live.secrets"),
        ("hello", "qa", "OF_SERVICE", "pipelines.hello.environments.qa.secrets"),
        ("hello", "live", "OF_VISITORS", "pipelines.hello.environments.live.http.basic"),
        ("hello", "qa", "OF_ALL_VISITORS", "pipelines.hello.environments.qa.http.basic"),
        ("hello", "live", "OF_ENVIRONMENT", "pipelines.hello.environments.live.secrets"),
        ("hello", "live", "OF_METRICS", "pipelines.hello.environments.live.metrics.token"),
        ("db", "qa", "OF_ACCESSORY", "accessories.db.secrets"),
        ("db", "live", "OF_ACCESSORY", "accessories.db.secrets"),
    }
    assert {one[2] for one in found} == set(NAMES.values())
