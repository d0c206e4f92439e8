"""The ways between nodes: proxies for each directed link, or the kernel's own network."""
