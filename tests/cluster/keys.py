"""The cluster's certificates, made with openssl: one authority, and a certificate for each server and client."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.where import ADDRESS, API, CONFIG, CONTEXT, FIRST_SERVICE, KEYS, KUBECONFIG, NODE, fail

DAYS = "365"
NAMES = f"DNS:localhost,DNS:{NODE},DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
ADDRESSES = f"IP:127.0.0.1,IP:{ADDRESS},IP:{FIRST_SERVICE}"


@dataclass(frozen=True)
class Holder:
    """One certificate: its file's name, and the user and group that Kubernetes reads from its subject."""

    file: str
    user: str
    group: str = ""

    @property
    def subject(self) -> str:
        return (f"/O={self.group}" if self.group else "") + f"/CN={self.user}"


SERVER = Holder("server", NODE)  # of the API server, kubelet, controllers and scheduler
TO_KUBELET = Holder("to-kubelet", "kube-apiserver-kubelet-client", "system:masters")
CLIENTS = (
    Holder("admin", "pushlive-test-admin", "system:masters"),
    Holder("kubelet", f"system:node:{NODE}", "system:nodes"),
    Holder("kube-controller-manager", "system:kube-controller-manager"),
    Holder("kube-scheduler", "system:kube-scheduler"),
    Holder("kube-proxy", "system:kube-proxy"),
)


def make() -> None:
    """Creates new keys, certificates and kubeconfig files."""
    KEYS.mkdir(mode=0o700, parents=True, exist_ok=True)
    CONFIG.mkdir(exist_ok=True)
    certificate("authority", "/CN=pushlive-test", "basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign")
    for holder in (SERVER, TO_KUBELET, *CLIENTS):
        certificate(
            holder.file,
            holder.subject,
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=digitalSignature",
            "extendedKeyUsage=serverAuth,clientAuth",
            f"subjectAltName={NAMES},{ADDRESSES}",
            signed=True,
        )
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key("accounts"))
    openssl("pkey", "-in", key("accounts"), "-pubout", "-out", KEYS / "accounts.pub")
    for holder in CLIENTS:
        kubeconfig(holder)


def certificate(file: str, subject: str, *extensions: str, signed: bool = False) -> None:
    by = ("-CA", crt("authority"), "-CAkey", key("authority")) if signed else ()
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", DAYS),
        *("-keyout", key(file), "-out", crt(file), "-subj", subject, *by),
        *(part for extension in extensions for part in ("-addext", extension)),
    )


def openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    if done.returncode:
        fail(f"openssl could not create a certificate (3.0 or newer is needed): {done.stderr.strip()}")


def crt(file: str) -> Path:
    return KEYS / f"{file}.crt"


def key(file: str) -> Path:
    return KEYS / f"{file}.key"


def client(name: str) -> Path:
    """The kubeconfig of a component or of the administrator."""
    return KUBECONFIG if name == "admin" else CONFIG / f"{name}.conf"


def kubeconfig(holder: Holder) -> None:
    """Contains all keys and certificates, so that a copy of the file works anywhere."""

    def inside(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    user = {"client-certificate-data": inside(crt(holder.file)), "client-key-data": inside(key(holder.file))}
    cluster = {
        "server": f"https://{ADDRESS}:{API}",
        "certificate-authority-data": inside(crt("authority")),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": holder.user, "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": holder.user}}],
        "current-context": CONTEXT,
    }
    path = client(holder.file)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1) + "\n")
