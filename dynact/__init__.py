"""What a vision activation layer really costs."""
