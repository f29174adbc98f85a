"""TLS for streams: contexts from a folder of certificates, a lean layer on TCP, and what peers show.

The only folder that imports OpenSSL. `TLSProvider` serves clients, `ServerTLS` other servers, both ways;
`PeerCertificate` is what `edge.s2s.trust` judges.
"""

from xmppservice.edge.tls.layer import TLSLayer, TLSLayerFactory
from xmppservice.edge.tls.provider import TLSProvider
from xmppservice.edge.tls.servers import ServerTLS
from xmppservice.edge.tls.verification import PeerCertificate, TrustStore

__all__ = ["PeerCertificate", "ServerTLS", "TLSLayer", "TLSLayerFactory", "TLSProvider", "TrustStore"]
