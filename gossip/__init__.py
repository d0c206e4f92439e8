"""What nodes tell each other: frontiers, reports, pushes, pulls, and what follows from them."""
