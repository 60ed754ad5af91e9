"""Contexts for TLS with safe defaults, which take up certificates that are renewed on disk."""

from __future__ import annotations

import logging
import os
import ssl
import time
from typing import Final, TypeAlias

__all__ = ("client_context", "renew", "server_context")

log = logging.getLogger(__name__)

#: Seconds between checks that the files of a context have changed. A check is one system call for each file.
CHECK_INTERVAL: Final = 1.0

StrPath: TypeAlias = str | os.PathLike[str]

#: What changes when a file is replaced: the inode, the time and the size.
_Signature: TypeAlias = tuple[tuple[int, int, int], ...]


class _RenewedContext(ssl.SSLContext):
    """A context that loads its files again when they have changed."""

    #: The certificate with its chain, and the key.
    own: tuple[str, str | None] | None
    #: The certificates that sign those of the other side.
    ca: str | None
    #: The password of the key.
    password: str | None
    #: The files as they were when they were loaded.
    signature: _Signature
    #: Whether the files that are there now could not be loaded, and that was logged.
    warned: bool
    #: When the files were last checked, by the monotonic clock.
    checked_at: float

    def load(
        self, own: tuple[StrPath, StrPath | None] | None, ca: StrPath | None, password: str | None
    ) -> None:
        """Loads the files and remembers them."""
        self.own = None
        if own is not None:
            self.own = os.fspath(own[0]), None if own[1] is None else os.fspath(own[1])
        self.ca = None if ca is None else os.fspath(ca)
        self.password = password
        self.checked_at = time.monotonic()
        self.signature = self._look()
        self.warned = False
        self._load_into(self)

    def renew(self) -> None:
        """Loads the files again if they have changed. Files that cannot be loaded change nothing."""
        now = time.monotonic()
        if now - self.checked_at < CHECK_INTERVAL:
            return
        self.checked_at = now
        try:
            signature = self._look()
            if signature == self.signature:
                return
            # OpenSSL keeps a certificate whose key does not fit, so this context gets only what another one took.
            self._load_into(ssl.SSLContext(self.protocol))
            self._load_into(self)
        except (OSError, ValueError) as error:
            if not self.warned:
                log.warning("The renewed certificate cannot be loaded, the old one stays in use: %s", error)
            self.warned = True
        else:
            self.signature, self.warned = signature, False
            log.info("Loaded a renewed certificate")

    def _look(self) -> _Signature:
        found = [os.stat(name) for name in (*(self.own or ()), self.ca) if name is not None]
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)

    def _load_into(self, context: ssl.SSLContext) -> None:
        if self.own is not None:
            # Without a password, OpenSSL would ask for it at the terminal and block.
            context.load_cert_chain(*self.own, password=self.password or "")
        if self.ca is not None:
            context.load_verify_locations(self.ca)


def server_context(
    cert: StrPath,
    key: StrPath | None = None,
    *,
    client_ca: StrPath | None = None,
    password: str | None = None,
) -> ssl.SSLContext:
    """Makes the context for ``Server(ssl=...)``: TLS 1.2 or later, without renegotiation.

    Files that are renewed are loaded by the next connections, without a restart. If they cannot be loaded, the old ones
    stay in use and a warning is logged.

    .. versionadded:: 1.2

    Parameters
    ----------
    cert: Union[:class:`str`, :class:`os.PathLike`]
        The file with the certificate and its chain, in PEM.
    key: Optional[Union[:class:`str`, :class:`os.PathLike`]]
        The file with the private key. Defaults to the file of the certificate.
    client_ca: Optional[Union[:class:`str`, :class:`os.PathLike`]]
        The file with the certificates that sign those of clients. With it, only clients with such a certificate can
        connect. Defaults to ``None``: clients need none. A certificate that is removed from the file stays accepted
        until a restart.
    password: Optional[:class:`str`]
        The password of the private key. Defaults to none.

    Raises
    ------
    OSError
        A file cannot be read, or is no certificate or key (:exc:`ssl.SSLError`).

    Returns
    -------
    :class:`ssl.SSLContext`
        The context.
    """
    context = _RenewedContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    context.load((cert, key), client_ca, password)
    return context


def client_context(
    *,
    ca: StrPath | None = None,
    cert: StrPath | None = None,
    key: StrPath | None = None,
    password: str | None = None,
) -> ssl.SSLContext:
    """Makes the context for ``ClientSession(ssl=...)``: TLS 1.2 or later, checking the server's certificate and name.

    It is needed only for a certificate of your own authority or for client certificates. Files that are renewed are
    loaded by the next connection.

    .. versionadded:: 1.2

    Parameters
    ----------
    ca: Optional[Union[:class:`str`, :class:`os.PathLike`]]
        The file with the certificates that sign the server's, in PEM. Defaults to those that the system trusts.
    cert: Optional[Union[:class:`str`, :class:`os.PathLike`]]
        The file with the certificate to show to the server. Defaults to none.
    key: Optional[Union[:class:`str`, :class:`os.PathLike`]]
        The file with the private key. Defaults to the file of the certificate.
    password: Optional[:class:`str`]
        The password of the private key. Defaults to none.

    Raises
    ------
    OSError
        A file cannot be read, or is no certificate or key (:exc:`ssl.SSLError`).
    ValueError
        There is a key and no certificate.

    Returns
    -------
    :class:`ssl.SSLContext`
        The context.
    """
    if cert is None and key is not None:
        raise ValueError("key is the private key of a certificate: give cert, too")
    context = _RenewedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is None:
        context.load_default_certs()
    context.load(None if cert is None else (cert, key), ca, password)
    return context


def renew(context: ssl.SSLContext | None) -> None:
    """Takes up files that were renewed, if the context is one of this module.

    :meta private:
    """
    if isinstance(context, _RenewedContext):
        context.renew()
