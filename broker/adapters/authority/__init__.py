"""The built-in certification authority: a root that is kept offline, and issuing authorities that are in use.

certificates   what is signed: roots, issuing authorities, leaves, revocation lists
key_files      signing keys in encrypted files          key_tokens   signing keys in a PKCS #11 token
register       what was issued and revoked, append-only
root           the folder of the root                   folder       the folder of the issuing authorities
rotation       a new issuing authority beside the old   standing     what expires when, and what to do next
"""
