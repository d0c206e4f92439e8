"""The same node in a world whose time, network, disks and luck come from one seed."""
