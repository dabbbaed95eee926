"""What two verdicts say together."""

import pytest

from pipeline.domain.judging.verdict import Verdict, both

WORSE, NO_WORSE, TOO_FEW, NOTHING = (
    Verdict.WORSE,
    Verdict.NO_WORSE,
    Verdict.TOO_FEW,
    Verdict.NOTHING_BEFORE,
)


@pytest.mark.parametrize(
    ("errors", "times", "said"),
    [
        (NO_WORSE, WORSE, WORSE),
        (WORSE, None, WORSE),
        (NOTHING, WORSE, WORSE),
        (NO_WORSE, TOO_FEW, TOO_FEW),
        (NO_WORSE, NOTHING, NO_WORSE),
        (NO_WORSE, None, NO_WORSE),
        (NOTHING, NOTHING, NOTHING),
        (NO_WORSE, Verdict.TOO_COARSE, NO_WORSE),
        (TOO_FEW, Verdict.TOO_COARSE, TOO_FEW),
    ],
)
def test_what_either_says_decides(errors: Verdict, times: Verdict | None, said: Verdict) -> None:
    assert both(errors, times) is said
