"""Every maintenance job, and how often it runs. A new job is a file of its own and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.config.place.repository import ConfigRepository
from pipeline.deploy.admission import Accepted
from pipeline.deploy.configuring.taking import Taking
from pipeline.deploy.services import Services
from pipeline.deploy.tools.leftovers import LeftSessions
from pipeline.domain.audit_chain import Who
from pipeline.domain.run import Push
from pipeline.maintenance.audit import Audit
from pipeline.maintenance.capacity.watch import WatchRoom
from pipeline.maintenance.clock_jumps import ClockJumps
from pipeline.maintenance.configuration import Configuration, ConfigurationRepository
from pipeline.maintenance.cost.meter import MeterCost
from pipeline.maintenance.cost.watch_caps import WatchCaps
from pipeline.maintenance.cron import Cron
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.doctor.check import Check
from pipeline.maintenance.doctor.demands import Demands
from pipeline.maintenance.doctor.replaced_code import ReplacedCode
from pipeline.maintenance.evidence import CatchUp, WriteBakes, WriteEvidence
from pipeline.maintenance.health import WatchHealth
from pipeline.maintenance.images.build_cache import BuildCache
from pipeline.maintenance.images.image_gc import ImageGc
from pipeline.maintenance.images.missing_images import MissingImages
from pipeline.maintenance.job import Job
from pipeline.maintenance.journal.keep import KeepJournal
from pipeline.maintenance.logs import KeepLogs
from pipeline.maintenance.previews.keep import KeepPreviews
from pipeline.maintenance.promotion.opening import Opening
from pipeline.maintenance.proxy import Proxy
from pipeline.maintenance.recognition import Recognition
from pipeline.maintenance.reconcile import Reconcile
from pipeline.maintenance.requeue import Requeue
from pipeline.maintenance.sleep.idle import FallAsleep
from pipeline.maintenance.unrecorded_heads import UnrecordedHeads
from pipeline.maintenance.watching.acting import Acting
from pipeline.maintenance.watching.answers import CountAnswers
from pipeline.maintenance.watching.baking import Baking
from pipeline.maintenance.watching.damaged_records import RepairRecords
from pipeline.maintenance.watching.latencies import TimeAnswers
from pipeline.maintenance.watching.notices import Notices
from pipeline.maintenance.watching.revive import Revive
from pipeline.maintenance.watching.taking_back import TakeBack
from pipeline.maintenance.watching.usage import SampleUsage
from pipeline.maintenance.workload.accessories import KeepAccessories
from pipeline.maintenance.workload.backups import MakeBackups
from pipeline.maintenance.workload.left_helpers import LeftHelpers
from pipeline.maintenance.workload.processes import WatchProcesses
from pipeline.maintenance.workload.unfinished import UnfinishedVolumes
from pipeline.maintenance.workload.volumes import VolumeSizes
from pipeline.ports.adapters import Adapters
from pipeline.ports.repositories import Repositories


@dataclass(frozen=True)
class Period:
    """``jobs`` run one after the other, ``every`` so many seconds (0: in every round)."""

    every: float
    jobs: tuple[Job, ...]


class Jobs:
    """``accept``: takes a push; ``repositories``: those on the built-in git server;
    ``ensure_proxy``: makes sure that the proxies run and answer, and yields what it did; ``traces``: what the data
    folder has of an earlier store; ``ensure_token``: makes the first token if the store does not know it;
    ``demands``: examines what store, engines and clusters have to be like; ``replaced``: says that the code of the
    service was; ``take_back``: reverts a release that failed while it was watched."""

    def __init__(
        self,
        services: Services,
        adapters: Adapters,
        accept: Callable[[Push, Who], Accepted],
        repositories: Repositories,
        ensure_proxy: Callable[[], Iterable[str]],
        traces: Callable[[], Iterable[str]] = tuple,
        ensure_token: Callable[[], object] = tuple,
        demands: Callable[[], Iterable[Check]] = tuple,
        replaced: Callable[[], str] = str,
        *,
        take_back: TakeBack,
    ) -> None:
        store, settings, configurations = services.store, services.settings, services.configurations
        builder, clock = adapters.builder, adapters.clock
        self.services, self.adapters = services, adapters
        self.recognition = Recognition(services, adapters.engines, traces, ensure_token)
        self.damage = Damage(store)
        self.requeue = Requeue(store, adapters.queue, clock, self.damage)
        self.clock_jumps = ClockJumps(store, clock, self.damage)
        self.configuration = Configuration(services, clock)
        place, taking = settings.config, None
        if isinstance(place, ConfigRepository):
            taking = Taking(services, place, adapters.source, repositories, clock)
        self.pushed_configuration = ConfigurationRepository(taking, configurations, store, clock)
        self.audit = Audit(services.audit_head)
        self.evidence = WriteEvidence(services, adapters, self.damage)
        self.missing_evidence = CatchUp(services, adapters, self.damage)
        self.bake_evidence = WriteBakes(services, adapters, self.damage)
        self.heads = UnrecordedHeads(store, configurations, self.damage, accept, repositories, clock)
        self.proxy = Proxy(ensure_proxy, clock)
        self.demands = Demands(demands)
        self.replaced_code = ReplacedCode(store, replaced)
        self.cron = Cron(services, adapters, self.damage)
        self.opening = Opening(services, adapters, self.damage)
        self.notices = Notices(services, adapters, self.damage)
        self.repair_records = RepairRecords(services, adapters)
        self.previews = KeepPreviews(services, adapters, repositories, self.damage)
        self.reconcile = Reconcile(services, adapters, self.requeue, self.damage)
        self.accessories = KeepAccessories(services, adapters, self.damage)
        self.health = WatchHealth(services, adapters, self.damage)
        self.answers = CountAnswers(services, adapters, self.damage)
        self.latencies = TimeAnswers(services, adapters, self.damage)
        self.fall_asleep = FallAsleep(services, adapters, self.damage)
        self.processes = WatchProcesses(services, adapters, self.damage)
        self.baking = Baking(services, adapters, self.damage, take_back)
        self.acting = Acting(services, adapters, self.damage, take_back)
        self.revive = Revive(services, adapters, self.damage)
        self.usage = SampleUsage(services, adapters, self.damage)
        self.cost = MeterCost(services, adapters, self.damage)
        self.caps = WatchCaps(services, adapters)
        self.room = WatchRoom(services, adapters)
        self.backups = MakeBackups(services, adapters)
        self.left_helpers = LeftHelpers(services, adapters)
        self.unfinished = UnfinishedVolumes(services, adapters)
        self.volume_sizes = VolumeSizes(store, adapters.engines, clock.now)
        self.missing_images = MissingImages(store, builder, clock, settings.instance, self.damage)
        self.logs = KeepLogs(store, settings, clock, self.damage)
        self.journal = KeepJournal(settings, clock)
        self.left_sessions = LeftSessions(store, adapters.engines, self.damage.add, clock.now)
        self.build_cache = BuildCache(builder, settings.build_cache, services.store, adapters.clock)
        self.image_gc = ImageGc(store, builder, settings.instance, settings.keep_releases, self.damage)

    def schedule(self) -> tuple[Period, ...]:
        """In the order of a round. ``requeue`` and ``clock_jumps`` are not in it: they run in every process."""
        return (
            Period(0.0, (self.configuration, self.audit, self.cron, self.evidence)),
            Period(2.0, (self.opening, self.replaced_code)),
            Period(3.0, (self.pushed_configuration, self.heads, self.left_sessions)),
            Period(
                5.0,
                (
                    self.proxy,
                    self.repair_records,
                    self.previews,
                    self.accessories,
                    self.notices,
                    self.reconcile,
                    self.fall_asleep,
                    self.health,
                    self.processes,
                    self.baking,
                    self.revive,
                    self.bake_evidence,
                    self.usage,
                    self.missing_images,
                    self.backups,
                    self.left_helpers,
                    self.unfinished,
                    self.demands,
                ),
            ),
            Period(15.0, (self.answers, self.acting, self.logs, self.journal)),
            Period(60.0, (self.latencies, self.missing_evidence, self.cost)),
            Period(300.0, (self.image_gc, self.build_cache, self.volume_sizes, self.caps, self.room)),
        )
