"""Contexts for TLS: what they demand, and files that are renewed."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from discord_tools.ipc import tls
from discord_tools.ipc.tls import client_context, renew, server_context
from equipment.certificates import Certificates


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def test_a_session_checks_the_name_and_the_certificate() -> None:
    context = client_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_session_trusts_what_the_system_trusts(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    assert len(client_context().get_ca_certs()) == 1


def test_a_server_asks_for_client_certificates_only_where_an_authority_is_named(
    certificates: Certificates,
) -> None:
    cert = certificates.issue("localhost")
    assert server_context(cert).verify_mode is ssl.CERT_NONE
    assert server_context(cert, client_ca=certificates.ca).verify_mode is ssl.CERT_REQUIRED
    assert server_context(cert).minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("make", [server_context, lambda path: client_context(cert=path)])
def test_a_file_that_is_missing_or_no_certificate_is_an_os_error(tmp_path: Path, make: object) -> None:
    assert callable(make)
    with pytest.raises(FileNotFoundError):
        make(tmp_path / "none.pem")
    (tmp_path / "text.pem").write_text("text", "utf-8")
    with pytest.raises(ssl.SSLError):
        make(tmp_path / "text.pem")


def test_a_key_without_a_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="give cert, too"):
        client_context(key="key.pem")


def test_files_are_checked_once_a_second_at_most(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(tls, "CHECK_INTERVAL", 3600.0)
    context = server_context(certificates.issue("localhost"))
    certificates.issue("localhost")
    renew(context)
    assert "Loaded a renewed certificate" not in caplog.messages
    monkeypatch.setattr(tls, "CHECK_INTERVAL", 0.0)
    renew(context)
    renew(context)
    assert caplog.messages.count("Loaded a renewed certificate") == 1


def test_a_key_that_does_not_fit_keeps_the_old_certificate_until_the_right_one_is_there(
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(tls, "CHECK_INTERVAL", 0.0)
    cert, key = certificates.issue("localhost"), tmp_path / "key.pem"
    key.write_bytes(cert.read_bytes())
    context = server_context(cert, key)
    certificates.issue("localhost")
    renew(context)
    renew(context)
    assert [message for message in caplog.messages if "cannot be loaded" in message] == [caplog.messages[0]]
    key.write_bytes(cert.read_bytes())
    renew(context)
    assert caplog.messages[1:] == ["Loaded a renewed certificate"]


def test_other_contexts_are_left_alone() -> None:
    renew(None)
    renew(ssl.create_default_context())
