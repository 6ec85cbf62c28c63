"""The contract that every engine is held to, for engines of this package and of others."""
