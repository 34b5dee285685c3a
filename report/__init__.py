"""What the networks cost and what freezing loses: operations, accuracy against precision, the README's table."""
