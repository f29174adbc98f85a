"""``python -m benchmarks.peers`` is ``python -m benchmarks.peers.run``."""

import sys

from benchmarks.peers.run import main

sys.exit(main())
