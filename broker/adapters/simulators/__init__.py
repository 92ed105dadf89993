"""Simulated devices over real sockets and lines, for demonstrations and tests; never part of a relay."""
