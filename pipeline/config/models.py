"""``pipelines.yaml`` as typed, frozen models. ``pipeline.config.loading`` reads the file and finds the lines.

Field descriptions are the documentation: ``docs/configuration.md`` and ``pipelines.schema.json`` are
generated from them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    model_validator,
)

from pipeline.config import validators
from pipeline.config.checks import HealthCheck, SmokeCheck
from pipeline.config.cost.prices import Costs
from pipeline.config.engines import Registry, Where
from pipeline.config.fields import (
    Argv,
    Branch,
    CpuLimit,
    Duration,
    Entry,
    EnvName,
    Host,
    Limit,
    MemoryLimit,
    Model,
    Name,
    Reason,
    RelativePath,
    Silence,
    StageName,
    Text,
    WarningPath,
    Words,
    hashed,
)
from pipeline.config.http.keys import Http
from pipeline.config.https.keys import Hsts, HttpsMode
from pipeline.config.judging.metrics import Metrics
from pipeline.config.previews.keys import Previews
from pipeline.config.promotion.approvals import Promote
from pipeline.config.promotion.freezes import Window, Windows
from pipeline.config.promotion.parity import OFF, Differs, Parity
from pipeline.config.promotion.shift import Shift
from pipeline.config.workload.accessory import Accessory, Uses
from pipeline.config.workload.bake import DEFAULT as BAKED_FOR
from pipeline.config.workload.bake import Bake
from pipeline.config.workload.container import ContainerOptions
from pipeline.config.workload.judge import OBSERVE, Judge
from pipeline.config.workload.kubernetes import AUTO, ClusterOptions, Replicas
from pipeline.config.workload.liveness import Liveness
from pipeline.config.workload.processes import Process, Processes, merged
from pipeline.config.workload.release import ReleaseCommand
from pipeline.config.workload.volumes import Volume, meeting


class Budget(Model):
    """How long a run may take before Pushlive warns. Neither limit ends a run."""

    deploy: Limit = 300.0
    """From "image ready" to "live verified", without waiting for people."""
    whole: Limit = 600.0
    """From the push to live; a run that takes longer is marked serious."""


Occasion = Literal[
    "live",
    "failed",
    "superseded",
    "cancelled",
    "waiting",
    "opened",
    "reverted",
    "held",
    "serious",
    "down",
    "degraded",
    "cron",
    "backup",
    "up",
    "bake",
    "baked",
    "worse",
    "restarted",
    "slowing",
    "cost",
    "filling",
    "configuration",
]


class Notify(Model):
    """One receiver. It gets a POST with JSON, see [notifications](notifications.md)."""

    url: Annotated[
        str, AfterValidator(validators.receiver), Words("a URL such as https://hooks.example.com/…")
    ] = Field(repr=False)
    """The receiver's URL. `http://` is only for receivers on this machine."""
    when: tuple[Occasion, ...] = Field(
        default=(
            "failed",
            "waiting",
            "opened",
            "reverted",
            "held",
            "serious",
            "down",
            "degraded",
            "up",
            "cron",
            "backup",
            "bake",
            "worse",
            "restarted",
            "slowing",
            "cost",
            "filling",
            "configuration",
        ),
        min_length=1,
    )
    """The events to send: how a run ended, that it waits for a person or the end of a freeze, that the freeze
    is over (`opened`), that an environment is held; `serious`: a run
    took longer than `budget.whole`; `down`, `degraded`, `up`: the release that serves stopped working, or works
    with only some of its replicas or processes, and works again; `cron`: a run by a schedule failed or was missed;
    `backup`: a backup failed, or the last good one is old; `bake`: a release failed while it was watched after its
    switch, and was not taken back; `baked`: one did not fail; `worse`: one answers with more errors than the release
    before it, or more slowly; `restarted`: a web container did not answer and was started again, by `liveness`;
    `slowing`: runs grow so that a budget will be exceeded within weeks; `cost`: a month will cost 80 % of a cap, or
    more than it; `filling`: a machine's disk, memory or processors will be used up within a week; `configuration`: a
    configuration was refused, and is right again."""


Receivers = Annotated[tuple[Notify, ...], Field(max_length=20)]


class Source(Model):
    """The repository whose pushes are deployed."""

    repository: Annotated[str, AfterValidator(validators.repository), Words("the name of a repository")] = ""
    """A repository on the built-in git server. Default: the pipeline's name, unless `url` is given."""
    url: Annotated[str, AfterValidator(validators.url), Words("a URL")] = ""
    """A repository on another server, which reports pushes by a webhook: `https://…` or `ssh://…`."""
    branch: Branch = "main"
    """The branch whose pushes are deployed."""

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if self.repository and self.url:
            raise ValueError(
                "give either `repository` (built-in git server) or `url` (another server), not both"
            )
        return self


class Build(Model):
    """How the image is built."""

    context: RelativePath = "."
    """The folder in the repository that is the build's context."""
    dockerfile: RelativePath = "Dockerfile"
    """The Dockerfile's path, relative to the context."""
    args: dict[EnvName, Text] = {}
    """Build arguments (`ARG`). Besides these, a Dockerfile that declares `PUSHLIVE_COMMIT` or `SOURCE_COMMIT` is given
    the commit's id in it, and is then built for each commit."""
    target: Annotated[str, AfterValidator(validators.stage), Words("the name of a stage")] = ""
    """The stage of a multi-stage Dockerfile to build. Default: the last one."""
    platform: Annotated[str, AfterValidator(validators.platform), Words("os/architecture")] = ""
    """For example `linux/amd64`. Default: the Engine's own."""
    timeout: Limit = 600.0
    """A build that takes longer is stopped."""


class Service(ContainerOptions, ClusterOptions):
    """What runs. Each key can be set differently for one environment, under its name."""

    ALWAYS_HASHED = frozenset(
        [
            "port",
            "health",
            "ready",
            "replicas",
            "cpu",
            "memory",
            "env",
            "command",
            "release",
            "drain",
            "stop",
            "keep_warm",
        ]
    )

    port: int = Field(default=8080, ge=1, le=65535)
    """The port on which the application listens, on 0.0.0.0. It is told by the variable `PORT`, unless `env` or
    `secrets` has that name."""
    health: HealthCheck = HealthCheck()
    liveness: Liveness = Liveness()
    ready: Limit = 60.0
    """How long the application may take to become ready."""
    replicas: Replicas = 1
    """The number of containers that share the traffic. `auto`, only on Kubernetes: a HorizontalPodAutoscaler of your
    own sets it, and a release starts with as many as what serves has then."""
    cpu: CpuLimit = 1.0
    """The CPU limit of each replica."""
    memory: MemoryLimit = 256 * 2**20
    """The memory limit of each replica."""
    pids: int = Field(default=512, ge=16, le=32768)
    """The limit of processes and threads of each replica. Only on Docker: on a cluster the nodes have one."""
    init: bool = True
    """A small process 1 passes signals on and removes ended processes. `false`: the image's own command is process 1,
    as supervisors such as s6 need it."""
    env: dict[EnvName, Text] = {}
    """Environment variables. Those of an environment are added to these."""
    secrets: tuple[EnvName, ...] = ()
    """Environment variables with values from `pushlive secret set`. Those of an environment are added to these."""
    command: Argv = ()
    """The command to run instead of the image's own (`CMD`). The image's `ENTRYPOINT` stays and is given it as
    arguments; one in shell form ignores it."""
    release: ReleaseCommand = ReleaseCommand()
    volumes: dict[Name, Volume] = {}
    """Folders whose files outlive releases, by name. Those of an environment are added to these."""
    one: bool = False
    """`true`: no two releases ever run at once, as SQLite or a scheduler in the web process need it. What serves is
    stopped before the next release starts. Requests wait in the proxy until that is ready, each as long as `timeout`
    says; after that, and in a proxy without Lua, they get a 503. No release is kept warm."""
    processes: Processes = {}
    """What runs beside the web process, by name. Under an environment: what differs there, and more processes."""
    web: bool = True
    """`false`: nothing takes requests, and `processes` are all that runs: no port, no health check, no host names. A
    release is ready once they are."""
    drain: Duration = 30.0
    """How long open requests and connections to the old release may last before it is stopped."""
    stop: Duration = 10.0
    """How long the application may take to exit after SIGTERM; then it gets SIGKILL."""
    timeout: Silence = 60.0
    """How long the application may send a visitor nothing, before its answer (the visitor gets 504 then) and within it.
    Event streams (`text/event-stream`) and WebSockets may be silent for an hour. On Kubernetes the Ingress controller
    decides."""
    http: Http = Http()
    keep_warm: Duration = 600.0
    """How long the previous release keeps running after a switch, for an instant revert. Outside the last environment
    the default is 0. If memory is short, what is only kept warm gives way, live's last."""
    security: Literal["standard", "strict"] = "standard"
    """`strict`: the container does not run as root (the image must name its user by number), writes only to `/tmp` and
    its volumes, and has no capabilities."""

    @model_validator(mode="after")
    def _one_volume_in_a_place(self) -> Self:
        if both := meeting(self.volumes):
            raise ValueError(f"the volumes {both[0]} and {both[1]} have the same path; give each its own")
        return self

    @property
    def all_secrets(self) -> tuple[str, ...]:
        """The names of the secrets that a release needs: of its containers, and of what the proxy asks visitors for."""
        return tuple(dict.fromkeys([*self.secrets, *self.http.basic.values()]))

    @property
    def proxys_secrets(self) -> frozenset[str]:
        """Those of them that no container gets."""
        return frozenset(self.http.basic.values()) - set(self.secrets)

    @property
    def web_replicas(self) -> int:
        """0 without a web process; 1 for `auto`, which every environment begins with."""
        return 0 if not self.web else 1 if isinstance(self.replicas, str) else self.replicas

    @property
    def autoscaled(self) -> bool:
        """Others set the number of its replicas."""
        return self.web and self.replicas == AUTO

    @property
    def processes_in_use(self) -> dict[str, Process]:
        """Those that run here all the time, by name."""
        return {name: one for name, one in self.processes.items() if one.replicas and not one.cron}

    @property
    def cron_in_use(self) -> dict[str, Process]:
        """Those that run here by a schedule, by name."""
        return {name: one for name, one in self.processes.items() if one.replicas and one.cron}


class Environment(Service):
    """One environment. What is not set here is the same as in every other environment."""

    host: Entry | None = None
    """A host name in addition to `<pipeline>-<environment>.localhost`, or a part of one that others share:
    `shop.example.com/api` ([hosts and paths](guides/hosts.md))."""
    hosts: tuple[Entry, ...] = ()
    """More of them. `*.example.com` is each name with one more part that no one else has, `*` what is left."""
    https: HttpsMode | None = None
    """What a request over plain HTTP to one of the hosts gets. `redirect`: the same address with `https://` (308), if
    the proxy has a valid certificate for it. `both`: the answer of the application. Default: `redirect` for hosts whose
    certificate the service got by itself, `both` for those of your own PEM files."""
    hsts: Hsts = Hsts()
    redirect_hosts: tuple[Host, ...] = ()
    """Host names that only lead to the environment's first one (308), such as `www.example.com`. They need a
    certificate each as well."""
    promote: Promote = Promote()
    """`manual`: a run waits before this environment until a person promotes it, or as many people as `approvals` says.
    Added, it holds for runs on their way as well; removed, from the next run on."""
    shift: Shift = Shift()
    bake: Bake = Bake()
    judge: Judge = OBSERVE
    """What follows from the verdict that a release answers [worse](judging.md) than the one before it, with more
    errors or more slowly. `observe`: the message. `act`: also what `bake.on_failure` says, within an hour of the
    switch. `off`: releases are not compared."""
    metrics: Metrics | None = None
    sleep_after: Duration = 0.0
    """After how long without a request what serves here is [put to sleep](guides/sleeping.md): its containers end, and
    the next request wakes it and waits meanwhile. `0`: never. Not in the last environment."""
    parity: Parity = OFF
    """What follows if a release would run here otherwise than in the environment before, in a property for which
    neither of them says why under `differs` ([parity](guides/parity.md)). `block`: the run does not enter, and fails
    with what differs. `warn`: a line in its log. It holds as the file has it when the run comes here."""
    differs: Differs = {}
    """Why this environment differs from the others, by the property: `{replicas: two are enough here}`. `env` is for
    all variables, `env.DEBUG` for that one. `pushlive parity` prints the names."""
    smoke: tuple[SmokeCheck, ...] | None = None
    """The smoke checks here, instead of the pipeline's."""
    uses: Uses = {}
    """Servers that are used here, in addition to the pipeline's `uses` or instead of one of that name."""
    engine: Where = Where()
    """Where it runs. Every engine except this machine's own Docker Engine pulls images from `registry`."""


_PLAIN = Environment()  # one of which the file says nothing; nothing changes a model


class Rendered(Model):
    """The complete configuration of one environment, as a release stores it."""

    ALWAYS_HASHED = frozenset({"service", "hosts", "smoke", "registry"})

    service: Service
    hosts: tuple[Entry, ...] = ()
    smoke: tuple[SmokeCheck, ...] = ()
    engine: Where = Where()
    registry: Registry | None = None
    uses: Uses = {}

    def fingerprint(self) -> str:
        """A short hash: equal for what runs alike. Where the image is stored makes no difference to that."""
        facts = hashed(self)
        del facts["registry"]
        text = json.dumps(facts, sort_keys=True)  # the order of env makes no difference
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Pipeline(Model):
    """The way of one application from a repository to live."""

    source: Source = Source()
    build: Build = Build()
    registry: Registry | None = None
    service: Service = Service()
    uses: Uses = {}
    """Databases, caches and brokers by the host names by which its containers reach them: `{db: shop-db}`. In the
    values of `env`, `${db.POSTGRES_PASSWORD}` stands for that variable of the accessory, `${db.HOST}` and `${db.PORT}`
    for its address; `${db.POSTGRES_PASSWORD|url}` is encoded for a URL."""
    smoke: tuple[SmokeCheck, ...] = ()
    """Checks that a release must pass in an environment before it gets traffic."""
    environments: dict[StageName, Environment | None] = Field(min_length=1)
    """The environments in the order of promotion; the last one is live."""
    budget: Budget | None = None
    """The budget of this pipeline, instead of the budget for all."""
    notify: Receivers | None = None
    """The receivers of this pipeline, instead of those for all; `[]` for none."""
    freeze: Windows | None = None
    """When no push and no deploy enters environments of this pipeline, instead of the windows for all; `[]` for
    none."""
    previews: Previews | None = None
    """Which branches and pull requests get an environment of their own."""
    accept: dict[WarningPath, Reason] = {}
    """Warnings of `pushlive check` that are intended: the path as it is shown, and the reason."""

    @property
    def stages(self) -> tuple[str, ...]:
        return ("build", *self.environments)

    def environment(self, name: str) -> Environment:
        return self.environments[name] or _PLAIN

    def keeps_warm(self, name: str) -> bool:
        """False if the previous release is not kept warm there: nothing says so, and it is not the last environment.
        What is rendered does not tell, and must not: it is part of every release's fingerprint."""
        written = self.environment(name).model_fields_set | self.service.model_fields_set
        return name == next(reversed(self.environments)) or "keep_warm" in written

    def bake_of(self, name: str) -> Bake:
        """That of the environment, with the time that it lasts. It is no part of what is rendered."""
        own = self.environment(name).bake
        if own.lasts is not None:
            return own
        last = name == next(reversed(self.environments))
        return own.model_copy(update={"lasts": BAKED_FOR if last else 0.0})

    def render(self, name: str) -> Rendered:
        """The pipeline's ``service`` with the environment's own settings; ``env``, ``secrets``, ``http`` and
        ``processes`` are merged."""
        own = self.environment(name)
        changed = {k: getattr(own, k) for k in own.model_fields_set if k in Service.model_fields}
        changed["env"] = {**self.service.env, **own.env}
        changed["volumes"] = {**self.service.volumes, **own.volumes}
        changed["http"] = self.service.http.with_own(own.http)
        changed["processes"] = merged(self.service.processes, own.processes)
        changed["secrets"] = tuple(dict.fromkeys([*self.service.secrets, *own.secrets]))
        hosts = tuple(dict.fromkeys([*([own.host] if own.host else []), *own.hosts]))
        smoke = self.smoke if own.smoke is None else own.smoke
        service = self.service.model_copy(update=changed)
        return Rendered(
            service=service,
            hosts=hosts,
            smoke=smoke,
            engine=own.engine,
            registry=self.registry,
            uses={**self.uses, **own.uses},
        )


class Config(Model):
    """The whole file."""

    budget: Budget = Budget()
    notify: Receivers = ()
    """Receivers of notifications about runs, at most 20."""
    freeze: Windows = ()
    """When no push and no deploy enters environments, at most 50 windows."""
    costs: Costs = Costs()
    accessories: dict[Name, Accessory] = {}
    """Databases, caches and brokers by their names. A pipeline names those that it uses under `uses`."""
    pipelines: dict[Name, Pipeline] = {}
    """Every pipeline by its name."""

    def budget_of(self, pipeline: str) -> Budget:
        return self.pipelines[pipeline].budget or self.budget

    def notify_of(self, pipeline: str) -> tuple[Notify, ...]:
        """The receivers; () for a pipeline that does not exist."""
        own = self.pipelines[pipeline].notify if pipeline in self.pipelines else ()
        return self.notify if own is None else own

    def freeze_of(self, pipeline: str) -> tuple[Window, ...]:
        """The windows; those for all for a pipeline that does not exist."""
        own = self.pipelines[pipeline].freeze if pipeline in self.pipelines else None
        return self.freeze if own is None else own

    def owner_of(self, host: str) -> tuple[str, str] | None:
        """The pipeline and the environment that have that host name, None if none has."""
        for name, pipeline in self.pipelines.items():
            for environment in pipeline.environments:
                if host in pipeline.render(environment).hosts:
                    return name, environment
        return None

    def repository_of(self, pipeline: str) -> str:
        """The name on the built-in git server, or "" for a repository on another server."""
        source = self.pipelines[pipeline].source
        return "" if source.url else source.repository or pipeline


def safe_path(path: str) -> bool:
    """True for a relative path that stays inside the repository."""
    return validators.is_safe_path(path)
