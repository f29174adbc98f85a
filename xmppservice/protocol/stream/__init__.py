"""XML streams without I/O: the state machine, its framings, and XEP-0198 queues."""
