"""Certificates of an authority that only the tests know, in files."""

from __future__ import annotations

import os
from pathlib import Path

import trustme

__all__ = ("Certificates",)


class Certificates:
    """An authority, and the files of certificates that it signed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        folder.mkdir(exist_ok=True)
        self.ca: Path = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, *names: str, file: str = "cert.pem") -> Path:
        """Signs a certificate for these names. The file has the key, too, and replaces another one at once."""
        path, new = self._folder / file, self._folder / f"{file}.new"
        self._authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(new))
        os.replace(new, path)
        return path
