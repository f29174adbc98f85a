"""Other servers attack: streams in both directions, dialback, certificates, and DNS."""
