"""`otb`, the command line for people. It runs on Windows too, and starts fast: nothing heavy is imported before use.

    arguments     what can be asked for               reference     the same as a page of documentation
    access        which broker, with which proofs     client        calls of the API
    trouble       what kept a call from an answer     devices       names of devices, and what was perhaps meant
    screen        text or JSON, nothing unescaped     problem_words refusals in sentences   moments  times in words
    look, values, audit, verification, why, profile_commands        one function for each command
    sessions      live sessions, and acts on them   watching      their operations as they happen
    connect, connect_bacnet    local ports for a Modbus master, for BACnet explorers (bbmd)
    reconnecting  keeps a tunnel open                 tunnel_link   one tunnel              renewal  fresh tokens for it
    login         in and out at an OpenID Provider    openid        how                     fresh_tokens   meanwhile

Everything that a broker says is printed only with control characters escaped; secrets are read from files and never
printed.
"""
