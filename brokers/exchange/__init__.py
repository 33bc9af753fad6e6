"""The simulated exchange: one account, one matching engine, no input or output.

Commands come in with their time, events come out, and the state is the fold of the
events: the same commands always give the same account, to the last digit.
"""
