"""The exercises: for each a page and, beside it, what it is compared with."""
