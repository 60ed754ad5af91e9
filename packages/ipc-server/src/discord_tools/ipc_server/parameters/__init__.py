"""The values of a route's parameters: from annotations to what a caller sends, and back to Python's objects."""
