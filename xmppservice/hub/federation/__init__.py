"""Federation: what goes to other servers and comes from them (RFC 6120, XEP-0220, XEP-0288, XEP-0198).

`domains` decides where a stanza goes, `route` is one way from one of our domains to a foreign one, `link` the stream
that carries stanzas of one or several pairs of domains, `proofs` its dialback, `managing` its acknowledgements.
"""
