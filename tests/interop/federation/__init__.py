"""Federation with other people's servers: Debian's Prosody and ejabberd as private instances, and a name server."""
