"""Run where discord.py and py-cord are installed over each other, and then where py-cord was uninstalled again."""

import subprocess
import sys


def refusal() -> str:
    """What importing the server says."""
    try:
        import discord_tools.ipc_server
    except ImportError as error:
        return str(error)
    raise AssertionError(f"{discord_tools.ipc_server} was imported")


text = refusal()
assert "discord.py and py-cord are installed over each other" in text, text
assert "pip uninstall --yes discord.py py-cord" in text, text
print(text)
subprocess.run([sys.executable, "-m", "pip", "uninstall", "-qq", "--yes", "py-cord"], check=True)
text = refusal()
assert "what is left" in text, text
print(text)
