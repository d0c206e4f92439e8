"""One running node: the fold, the driver that joins the parts, and the HTTP face."""
