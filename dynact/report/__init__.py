"""From stored rows to figures, tables and text. Nothing here measures."""
