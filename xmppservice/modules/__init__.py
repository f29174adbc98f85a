"""The extensions: a XEP or a part of an RFC each, as a file by its name or a folder.

Modules never import each other; they ask their host for an interface (`VirtualHost.provider`).
"""
