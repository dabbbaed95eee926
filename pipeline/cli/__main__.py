"""``python -m pipeline.cli``: the command line where ``pushlive`` is not on the PATH."""

from __future__ import annotations

import sys

from pipeline.cli.main import main

sys.exit(main())
