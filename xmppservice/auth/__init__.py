"""Logging in: Twisted Cred checkers, realm and portal over the stored secrets."""
