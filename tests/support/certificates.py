"""Certificates of a test's own, for servers on 127.0.0.1."""

import subprocess
from shutil import which

import pytest


class Certificates:
    """An authority of a test's own, and what it certifies: that 127.0.0.1 is 127.0.0.1.

    Attributes:
        authority: The file with the authority's certificate.
        server: The file with the server's certificate.
        key: The file with the server's key.
    """

    def __init__(self, folder):
        if which("openssl") is None:
            pytest.skip("openssl is not installed")
        self.authority, self.server, self.key = (folder / name for name in ("ca.pem", "server.pem", "server.key"))
        extensions, own_key, request = folder / "names", folder / "ca.key", folder / "request"
        # From Python 3.13 on, a certificate has to say all of this to be trusted.
        extensions.write_text(
            "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self._run(
            *new,
            "-x509",
            "-keyout",
            own_key,
            "-out",
            self.authority,
            "-subj",
            "/CN=test",
            "-days",
            "2",
            "-addext",
            "keyUsage=critical,keyCertSign",
        )
        self._run(*new, "-keyout", self.key, "-out", request, "-subj", "/CN=server")
        signed = ("x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", own_key, "-CAcreateserial")
        self._run(*signed, "-out", self.server, "-days", "2", "-extfile", extensions)

    def _run(self, *command):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
