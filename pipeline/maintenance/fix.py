"""``pushlive doctor --fix``: a round of reconciliation at once, at a person's request."""

from __future__ import annotations

from pipeline.maintenance.jobs import Jobs


def fix(jobs: Jobs) -> tuple[str, ...]:
    """Reconciles every environment and reverts manual changes; what was done, and what could not be."""
    said = jobs.proxy.run()
    said += jobs.accessories.run()
    said += jobs.reconcile.all(by_hand=True, say_busy=True)
    jobs.missing_images.run()
    store = jobs.services.store
    environments = (one for name in store.pipelines() for one in store.environments(name).values())
    problems = ((one.id, store.facts.get(f"problem:{one.id}")) for one in environments)
    return (*said, *(f"{name}: {text}" for name, text in problems if text))
