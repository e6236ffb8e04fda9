"""From stored rows to what figures, tables and page show."""
