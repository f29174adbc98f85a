"""The inputs, as data: the tests send them to our server, the comparison to others too."""
