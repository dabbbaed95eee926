from pipeline.deploy.evidence import collapsed


def test_a_hundred_health_checks_are_one_line_of_evidence():
    checks = tuple(f'127.0.0.1 [22/Nov 20:{n:02}] "GET /healthz" 200' for n in range(20))
    assert collapsed(("started", *checks, "Traceback", "KeyError: 1")) == (
        "started",
        '127.0.0.1 [22/Nov 20:19] "GET /healthz" 200  (×20)',
        "Traceback",
        "KeyError: 1",
    )
    assert collapsed(()) == ()
