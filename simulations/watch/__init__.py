"""Looking on at real nodes, and what is written down of it."""
