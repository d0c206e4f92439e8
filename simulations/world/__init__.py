"""What takes the place of clock, random, network and disk, and the sites and nodes on top of it."""
