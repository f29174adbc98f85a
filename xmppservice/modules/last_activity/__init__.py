"""Last activity (XEP-0012): `module` answers requests, `tables` declares what is stored.

They are apart because the writer process imports the tables, and should import little else.
"""
