"""The GPU side: separate processes that know neither Discord, nor X, nor SQLite."""
