"""Steps, their identities and the store; files, tensors, errors. Imports no other room."""
