"""Tables and text in Markdown and CSV."""
