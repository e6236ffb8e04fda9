"""What all processes share: the words they exchange, and what is on disk."""
