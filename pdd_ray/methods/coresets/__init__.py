"""Which examples to take: pure functions of features and scores."""
