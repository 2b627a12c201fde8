"""One module a table: raw files in, checked long-form rows out."""
