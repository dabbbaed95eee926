"""Reading a kubeconfig: the client's own loader, except for programs that print credentials."""

from __future__ import annotations

from typing import Any

from kubernetes.client import Configuration
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.dateutil import parse_rfc3339
from kubernetes.config.exec_provider import ExecProvider
from kubernetes.config.kube_config import FileOrData, KubeConfigLoader, KubeConfigMerger

from pipeline.adapters.kubernetes.api.credentials import CredentialPlugins, Status

# What a user of a kubeconfig may name. One that names nothing of it connects without credentials, as through
# `kubectl proxy`.
_CREDENTIALS = ("auth-provider", "client-certificate", "client-certificate-data", "exec", "password", "token")


class Kubeconfig(KubeConfigLoader):
    """One context of the kubeconfig files in ``path`` (as in KUBECONFIG); ``context``: "" for the current one. Raises
    what the client raises if they cannot be used."""

    def __init__(self, path: str, context: str, plugins: CredentialPlugins) -> None:
        self._plugins = plugins
        self._given: tuple[ExecProvider, Status] | None = None
        merged = KubeConfigMerger(path)  # type: ignore[no-untyped-call]
        super().__init__(  # type: ignore[no-untyped-call]
            merged.config, context or None, config_base_path=None, config_persister=merged.save_changes
        )

    def load(self, found: Configuration) -> str:
        """Fills in the configuration; returns the context's namespace. Raises EngineAway if a program fails."""
        self.load_and_set(found)  # type: ignore[no-untyped-call]
        user: Any = self._user or ()
        if any(name in user for name in (*_CREDENTIALS, "tokenFile")) and not (
            found.api_key or found.cert_file
        ):
            raise ConfigException("its user names credentials, and none of them could be read")
        chosen: Any = self._current_context
        return str(chosen["context"].safe_get("namespace") or "")

    def refused(self) -> None:
        """The API server does not accept what a program printed: it is run again when credentials are needed."""
        if self._given:
            self._plugins.forget(*self._given)

    def _load_from_exec_plugin(self) -> bool:
        """Replaces the client's own, which connects without credentials after a failure."""
        user: Any = self._user
        cluster: Any = self._cluster
        if "exec" not in user:
            return False
        base = self._get_base_path(cluster.path)  # type: ignore[no-untyped-call]
        provider = ExecProvider(user["exec"], base, cluster)  # type: ignore[no-untyped-call]
        status = self._plugins.status(provider)
        self._given = provider, status
        if "token" in status:
            self.token = f"Bearer {status['token']}"
            if stamp := status.get("expirationTimestamp"):
                self.expiry = parse_rfc3339(stamp)  # type: ignore[no-untyped-call]
        else:
            self.cert_file = self._as_file(status, "clientCertificateData", base)
            self.key_file = self._as_file(status, "clientKeyData", base)
        return True

    def _as_file(self, status: Status, key: str, base: str) -> str:
        found = FileOrData(  # type: ignore[no-untyped-call]
            status, None, data_key_name=key, file_base_path=base, base64_file_content=False
        )
        return str(found.as_file())  # type: ignore[no-untyped-call]
