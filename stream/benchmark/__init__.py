"""``unmask bench``: how many cameras this machine carries, where the time goes, and what the usual ways take."""
