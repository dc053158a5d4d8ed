"""Training: data, augmentation, matching, losses, the loop and its evaluation."""
