"""The interfaces that the parts of the server promise to each other."""
