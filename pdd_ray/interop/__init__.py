"""Reading files that other projects of the field write."""
