"""Logging in to a cloud's registry with the identity that the machine, the job or the person has there: one module per cloud.

Each names the hosts that are its own (the whole host, anchored on both sides: `x.azurecr.io.evil.test` is nobody's), and gets a credential for one of
them by the cloud's own library. A cloud's token goes to that host and to the cloud, nowhere else.
"""
