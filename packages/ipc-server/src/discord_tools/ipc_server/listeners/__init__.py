"""Where clients come in."""
