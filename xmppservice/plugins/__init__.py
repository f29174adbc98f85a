"""Plugin folder: every ``xmppservice/plugins/`` on ``sys.path`` counts, so other distributions can drop files in.

A distribution that adds a module ships ``xmppservice/plugins/its_name.py`` with
``ModuleMaker`` lines and no ``__init__.py`` of its own.
"""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
