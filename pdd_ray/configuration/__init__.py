"""What a user may configure, and reading it: typed, frozen, checked; imports data and models."""
