"""What the trainings found, as a figure and a table."""
