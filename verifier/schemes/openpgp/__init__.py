"""OpenPGP: Helm's `.prov` files. pysequoia verifies in process; python-gnupg signs. Both are imported only in this room."""
