"""What carries messages between two peers."""
