"""Training networks: experts, transitions, evaluations, scores and features, with augmentation."""
