"""What a user may configure: typed, frozen, every field described, unknown keys rejected."""
