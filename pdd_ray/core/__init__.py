"""Steps, their identities and the store, files, tensors, errors; imports no other room."""
