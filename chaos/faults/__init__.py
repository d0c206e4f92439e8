"""How each kind of fault begins and ends where nodes are real processes."""
