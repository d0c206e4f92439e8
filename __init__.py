"""anabranch: a masterless event store for several datacenters.

Any node takes an append at once; every node works out the same order by itself.
"""

__version__ = "0.1.0"
