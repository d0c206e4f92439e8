"""The command line: one file for each command, and what the commands share.

A command's module holds its options and its story. Rules without I/O stand in files of their own
(`comparison`, `mapping`, `demo_checks`, `demo_plan`, `order_book`), HTTP is spoken in `client`
alone, and nothing below this folder knows of it.
"""
