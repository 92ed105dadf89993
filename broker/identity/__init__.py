"""Who is asking: octets of certificates and tokens become a `Subject`, or an exception with a constant code.

    certificate     Trust: one organisation's anchors, namespaces and CRLs -> Subject with a certificate proof
    names           subject names and the namespaces that organisations may name
    revocation      CRLs: which are believed, and what they say of a certificate
    modbus_role     the role extension of Modbus/TCP Security
    explanation     everything that is wrong with a certificate, in words, with what to do
    token, keys     JSON Web Tokens against pinned issuers and their public keys
    signature       who signed a token
    logout          an issuer's word that somebody logged out, and which tokens that ends
    binding         both proofs name one subject
    codes           every code and what the caller is told

Pure: no clock, no socket, no file; `now` is an argument (epoch seconds).
"""
