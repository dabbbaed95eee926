import pytest

from pipeline.deploy.last_lines import advice_of, collapsed


def test_a_hundred_health_checks_are_one_line_of_evidence():
    checks = tuple(f'127.0.0.1 [22/Nov 20:{n:02}] "GET /healthz" 200' for n in range(20))
    assert collapsed(("started", *checks, "Traceback", "KeyError: 1")) == (
        "started",
        '127.0.0.1 [22/Nov 20:19] "GET /healthz" 200  (×20)',
        "Traceback",
        "KeyError: 1",
    )
    assert collapsed(()) == ()


@pytest.mark.parametrize(
    "line",
    [
        "sh: can't fork: Resource temporarily unavailable",
        "bash: fork: retry: Resource temporarily unavailable",
        "java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory",
        "RuntimeError: can't start new thread",
        "OpenBLAS blas_thread_init: pthread_create failed for thread 3 of 8",
    ],
)
def test_a_process_or_thread_that_could_not_be_started_names_the_limits_key(line: str) -> None:
    assert "raise `pids` in pipelines.yaml" in advice_of(("exit code 2", line))
    assert advice_of(("exit code 2", "could not connect: Resource temporarily unavailable")) == ""
