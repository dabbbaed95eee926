"""Webhook receivers, one small file for each provider.

To add a provider:

1. Copy ``github.py`` and change its three members: see ``Receiver`` in ``contract.py``.
2. Add it to ``RECEIVERS`` below. Its name is the last part of its URL: ``/hooks/<name>``.
3. Add ``<name>_secret`` and ``<name>_secret_old`` to ``pipeline.config.settings``, beside GitHub's.

``tests/web/test_receivers.py`` checks the rest for every provider in the table.
"""

from __future__ import annotations

from webhooks.receivers.contract import Receiver
from webhooks.receivers.gitea import Gitea
from webhooks.receivers.github import GitHub

RECEIVERS: dict[str, Receiver] = {receiver.name: receiver for receiver in (GitHub(), Gitea())}
