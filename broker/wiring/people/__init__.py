"""Vendors as people: invited, enrolled with a second factor, given short certificates, and gone again.

known         which certificates the broker issued: what stood before each, and which count no longer
issuing       the authorities in use, and what is recorded and stored before a certificate is handed out
factors       proving a second factor, for renewal and for whoever else asks
enrolment     from a code, or from a certificate before, to a certificate: what is under way
membership    invitations, and who enrolled
"""
