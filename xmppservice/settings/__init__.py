"""Configuration (architecture section 11): one TOML file, checked key by key before anything starts."""

from xmppservice.settings.build import Modules
from xmppservice.settings.files import (
    Found,
    complaint,
    dataFolder,
    developmentSettings,
    discover,
    loadSettings,
    settingsFor,
)
from xmppservice.settings.model import (
    Differences,
    HostSettings,
    Overrides,
    PortSettings,
    Settings,
    SettingsError,
    controlSocket,
)
from xmppservice.settings.sections import S2S, TLS, Auth, Database, Limits, Listen

__all__ = [
    "S2S",
    "TLS",
    "Auth",
    "Database",
    "Differences",
    "Found",
    "HostSettings",
    "Limits",
    "Listen",
    "Modules",
    "Overrides",
    "PortSettings",
    "Settings",
    "SettingsError",
    "complaint",
    "controlSocket",
    "dataFolder",
    "developmentSettings",
    "discover",
    "loadSettings",
    "settingsFor",
]
