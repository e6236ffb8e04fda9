"""What owns the device: makes, times and counts what the parent asks for."""
