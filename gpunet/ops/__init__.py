"""All ops, by family; each file's docstring says what it holds."""
