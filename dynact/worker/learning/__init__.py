"""What an activation does to learning: a small network trained with each."""
