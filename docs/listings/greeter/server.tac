"""A chat server with a service of our own in its tree: twistd -n -y server.tac"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from greeter import Greeter
from twisted.application.service import Application

from xmppservice import tap

options = tap.Options()
options.parseOptions([])
server = tap.makeService(options)
domain = next(iter(server.settings.hosts))

application = Application("xmppservice with a greeter")
server.setServiceParent(application)
Greeter(server.router.hosts, domain, "Good day!", 5.0, tap.reactor).setServiceParent(server)
