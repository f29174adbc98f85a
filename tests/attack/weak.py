"""A TLS client without standards of its own."""

from __future__ import annotations

import ssl
import warnings


def context(low: ssl.TLSVersion, high: ssl.TLSVersion, ciphers: str = "") -> ssl.SSLContext:
    """A client that would take anything between two versions, with these ciphers, and believes any certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made.set_ciphers((ciphers or "ALL") + ":@SECLEVEL=0")
        made.minimum_version, made.maximum_version = low, high
    return made
