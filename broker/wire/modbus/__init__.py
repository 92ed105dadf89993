"""Strict Modbus without input or output: octets to operations and back, nothing undecoded in between.

Clauses are those of the MODBUS Application Protocol Specification v1.1b3 unless another document is named.

    mbap            frames of Modbus/TCP out of a stream, in whatever pieces it arrives
    rtu             frames of a serial line: CRC and the end of a reply
    pdu             the codec: decode_request, encode_request, decode_reply, encode_reply, exceptions
      bits registers files diagnostics identification     one family of function codes each
      fields        the rules the families share
    meaning         what the rest of the product uses: interpret, values_of, compose_*
      operations    a decoded request as operations on named points
      composing     requests made from points and engineering values
      places        which points lie where in a device, indexed once
      values        octets to engineering values and back

A decoded form is valid by construction: every dataclass of the codec refuses impossible contents when it is made.
Therefore encoding cannot fail, and encode(decode(octets)) == octets for all octets that are accepted.
"""
