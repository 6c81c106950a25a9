"""What is told of requests: logs and figures, never pictures."""
