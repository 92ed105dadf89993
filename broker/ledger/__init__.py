"""The rules of the evidence: records, their canonical form, the Merkle tree over them, signed heads, and verification.

Everything here is pure: octets and times arrive as arguments. The files are written by `adapters.ledger_files` and read
for verification by `adapters.ledger_reader`, which share nothing but these rules.
"""
