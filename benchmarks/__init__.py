"""Load generator and benchmark driver; ``python -m benchmarks.run --help``."""
