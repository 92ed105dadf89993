"""Logging in at an OpenID Provider.

provider      the pinned issuer's endpoints      id_token       who logged in, verified
device_flow   with a code, on any other screen   browser_flow   with the browser of this machine
kept_login    the files of a login, and fresh tokens from it
    client_key    how a service proves itself by a key
"""
