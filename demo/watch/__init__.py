"""What is told of requests, and what the process holds: logs and figures, never pictures."""
