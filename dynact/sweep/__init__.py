"""The parent: plans cases, asks the worker, stores each row. Free of torch."""
