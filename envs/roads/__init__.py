"""Roads: the one map representation, its pieces, and the generator that joins them into towns."""
