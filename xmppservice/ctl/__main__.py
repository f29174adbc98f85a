"""``python -m xmppservice.ctl``."""

import sys

from xmppservice.ctl.main import main

if __name__ == "__main__":
    sys.exit(main())
