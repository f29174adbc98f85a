"""The database: named writes with tickets, one writer process, keyed reads."""
