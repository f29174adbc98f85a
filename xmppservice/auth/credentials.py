"""Which credentials interface the plain classes of `protocol.sasl.credentials` provide.

Importing this module makes them fit for a portal; `auth.portal` does so.
"""

from __future__ import annotations

from twisted.cred.credentials import IAnonymous, IUsernamePassword
from zope.interface import classImplements

from xmppservice.hub.contracts.auth import ICertificate, IScramCredentials
from xmppservice.protocol.sasl.credentials import (
    AnonymousCredentials,
    CertificateCredentials,
    PlainCredentials,
    ScramCredentials,
)

classImplements(ScramCredentials, IScramCredentials)
classImplements(PlainCredentials, IUsernamePassword)
classImplements(CertificateCredentials, ICertificate)
classImplements(AnonymousCredentials, IAnonymous)
