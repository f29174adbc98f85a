"""Our server beside Debian's Prosody and ejabberd: the same workloads, in turn, in one run."""
