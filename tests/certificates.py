"""A certificate authority of the tests' own, what it signed, and a proxy for HTTPS. All on this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CLIENT = "the tests' client"


@dataclass(frozen=True)
class Certificates:
    """PEM files: the authority's certificate; a server's and a client's, each with its key."""

    authority: Path
    server: Path
    client: Path

    def server_context(self, *, ask_for_client: bool = False) -> ssl.SSLContext:
        """What a server on 127.0.0.1, or called gateway.example, presents.

        With ``ask_for_client``, it wants a certificate of the client, too.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        if ask_for_client:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(self.authority)
        return context


_KEY_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def make_certificates(folder: Path) -> Certificates:
    """Certificates that are good for an hour."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("the tests' authority")
    authority = _builder(name, name, key.public_key())
    authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    # Python 3.13 checks as RFC 5280 has it (VERIFY_X509_STRICT): what an authority may do, and which key signed.
    signs = {each: each in ("key_cert_sign", "crl_sign") for each in _KEY_USAGES}
    authority = authority.add_extension(x509.KeyUsage(**signs), critical=True)
    authority = authority.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    paths = [folder / f"{each}.pem" for each in ("authority", "server", "client")]
    paths[0].write_bytes(authority.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    for path, subject in ((paths[1], "127.0.0.1"), (paths[2], CLIENT)):
        own = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(subject), name, own.public_key()).add_extension(signer, critical=False)
        if path is paths[1]:
            names = [x509.IPAddress(ipaddress.ip_address(subject)), x509.DNSName("gateway.example")]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(key, hashes.SHA256())
        private = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return Certificates(*paths)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
    )


class ConnectProxy:
    """An HTTP proxy that knows CONNECT; ``asked`` are the hosts and ports that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            self.asked.append(head.split(b" ", 2)[1].decode())
            host, _, port = self.asked[-1].rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                back.start()
                _copy(client, server)
                back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def connect_proxy() -> Iterator[ConnectProxy]:
    """A running proxy."""
    proxy = ConnectProxy()
    try:
        yield proxy
    finally:
        proxy.close()
