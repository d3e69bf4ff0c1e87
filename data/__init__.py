"""What is remembered: the SQLite store, corpora, and the readers of archives and files."""
