"""Registrations by the hundred while everything they need is killed, frozen and cut off.

`plan` says what is to go wrong and when, `fleet` runs the processes, `killer` breaks them,
`clients` register and write down what they are told, `run` puts it together and judges.
"""
