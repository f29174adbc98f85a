"""What runs inside the server under test: the code that a maltreated process loads before it starts."""
