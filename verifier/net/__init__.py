"""The only room with sockets and subprocesses."""
