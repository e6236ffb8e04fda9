"""The run as one self-contained page."""
