"""Which charts do files and objects name? One module per kind of file or installer; pure."""
