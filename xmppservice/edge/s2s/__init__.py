"""Federation on sockets: where a remote domain is, how it is reached, and whether it is who it says."""
