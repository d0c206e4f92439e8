"""A world for the epochs: nodes that follow the rules, and all that can go wrong around them."""
