"""What hostile clients cost a bot: each case attacks a fresh bot process, and is judged by meters inside of it."""
