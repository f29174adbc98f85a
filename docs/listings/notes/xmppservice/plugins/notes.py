"""Makes the module known; data only."""

from xmppservice.hub.module import ModuleMaker

notes = ModuleMaker("notes", "xmpp_notes", "notes that the devices of an account share")
