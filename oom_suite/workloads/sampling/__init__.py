"""What stands between logits and tokens: top-k and top-p, penalties, log-probabilities."""
