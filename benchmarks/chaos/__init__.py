"""``hatch run chaos``: what happens to each call while processes are killed, stopped and starved.

A bot and its callers run in processes of their own, with a proxy between them. Each call has an id of its own. The
route notes it in a file before it answers, and the caller notes what it was told in another one, so both outlive any
kill. At the end the notes are compared.
"""
