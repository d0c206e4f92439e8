"""What a run is, as data: drawn from a seed, or read from a story."""
