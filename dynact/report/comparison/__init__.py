"""Runs compared case by case, and cases of one run that differ in one field."""
